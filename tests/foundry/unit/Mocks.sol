// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev A token that, while it moves anything, makes one call and remembers the answer.
contract EchoToken {
    mapping(address => uint256) public balanceOf;
    address private target;
    bytes private data;
    bytes public answer;
    bool public answered;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function callOnTransfer(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external pure {}

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return _move(from, to, amount);
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 amount,
        uint256,
        uint256,
        bytes32,
        uint8,
        bytes32,
        bytes32
    ) external {
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        if (target != address(0)) {
            bool ok;
            (ok, answer) = target.call(data);
            answered = true;
            require(!ok, "the call back was let in");
        }
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @dev A recipient that calls back, or will not have it.
contract Recipient {
    bool private refusing;
    address private target;
    bytes private data;
    bytes public answer;

    function refuse() external {
        refusing = true;
    }

    function callOnReceipt(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    receive() external payable {
        require(!refusing);
        if (target == address(0)) return;
        bool ok;
        (ok, answer) = target.call(data);
        require(!ok, "the call back was let in");
    }
}
