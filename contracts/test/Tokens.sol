// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IERC3009} from "../../interfaces/IERC3009.sol";

/// @dev An ordinary token anyone can mint.
contract PlainToken is ERC20 {
    constructor() ERC20("Plain", "PLN") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Keeps one percent of every transfer.
contract FeeToken is ERC20 {
    constructor() ERC20("Fee", "FEE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from != address(0) && to != address(0)) {
            super._update(from, address(this), value / 100);
            value -= value / 100;
        }
        super._update(from, to, value);
    }
}

/// @dev Fails by answering false instead of reverting.
contract FalseToken is ERC20 {
    constructor() ERC20("False", "FLS") {}

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// @dev Moves tokens and answers nothing, like some of the oldest tokens.
contract SilentToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @dev Refuses to move nothing, as some tokens do.
contract NonZeroToken is ERC20 {
    error NothingToMove();

    constructor() ERC20("NonZero", "NZT") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (value == 0) revert NothingToMove();
        super._update(from, to, value);
    }
}

/// @dev Calls a hook of the sender before it moves anything, as ERC-777 does.
contract HookToken is ERC20 {
    constructor() ERC20("Hook", "HOK") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from.code.length != 0 && from != address(this)) try IHook(from).tokensToSend() {} catch {}
        super._update(from, to, value);
        if (to.code.length != 0 && to != address(this)) try IHook(to).tokensReceived() {} catch {}
    }
}

interface IHook {
    function tokensToSend() external;
    function tokensReceived() external;
}

/// @dev Says yes to every transfer and moves nothing.
contract LyingToken is ERC20 {
    constructor() ERC20("Lying", "LIE") {}

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return true;
    }
}

/// @dev Moves tokens until somebody freezes it, then answers false.
contract FreezingToken is ERC20 {
    bool public frozen;

    constructor() ERC20("Freezing", "ICE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function freeze(bool yes) external {
        frozen = yes;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return frozen ? false : super.transfer(to, amount);
    }
}

/// @dev Takes ERC-2612 permits and ERC-3009 authorisations, as USDC does.
contract SignedToken is ERC20Permit, IERC3009 {
    bytes32 private constant _TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    mapping(address => mapping(bytes32 => bool)) public authorizationState;

    constructor() ERC20("Signed", "SGN") ERC20Permit("Signed") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        require(to == msg.sender, "caller must be the payee");
        require(block.timestamp > validAfter && block.timestamp < validBefore, "authorization is not valid now");
        require(!authorizationState[from][nonce], "authorization is used");
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(_TYPEHASH, from, to, value, validAfter, validBefore, nonce))
        );
        require(ECDSA.recover(digest, v, r, s) == from, "invalid signature");
        authorizationState[from][nonce] = true;
        _transfer(from, to, value);
    }
}

/// @dev Answers every call with success and moves nothing: a permit or an authorisation that fails in silence.
contract PhantomToken {
    mapping(address => uint256) public balanceOf;

    fallback() external {}
}
