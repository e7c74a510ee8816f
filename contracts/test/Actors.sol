// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @dev A contract account: forwards calls for anyone, holds value, and does on receipt what it is told to.
contract Wallet {
    enum OnReceipt {
        Take,
        Refuse,
        Reenter,
        Bomb
    }

    OnReceipt public onReceipt;
    address private _target;
    bytes private _again;
    uint256 public reentered;
    uint256 public refused;
    address public signer;

    constructor(address signer_) payable {
        signer = signer_;
    }

    function set(OnReceipt what, address target, bytes calldata again) external {
        (onReceipt, _target, _again) = (what, target, again);
    }

    function run(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool ok, bytes memory answer) = target.call{value: msg.value}(data);
        if (!ok) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        return ECDSA.recover(hash, signature) == signer ? bytes4(0x1626ba7e) : bytes4(0);
    }

    function tokensToSend() external {
        _reenter();
    }

    function tokensReceived() external {
        _reenter();
    }

    receive() external payable {
        if (onReceipt == OnReceipt.Refuse) revert("no, thanks");
        if (onReceipt == OnReceipt.Reenter) _reenter();
        if (onReceipt == OnReceipt.Bomb) {
            assembly {
                return(0, 1000000)
            }
        }
    }

    function _reenter() private {
        if (onReceipt != OnReceipt.Reenter) return;
        (bool ok, ) = _target.call(_again);
        if (ok) reentered++;
        else refused++;
    }
}

/// @dev Forces its value on anybody.
contract Forcer {
    constructor(address payable to) payable {
        selfdestruct(to);
    }
}

/// @dev An ERC-1271 validator whose answer is wrong in one way or another.
contract OddValidator {
    enum Answer {
        Nothing,
        FourBytes,
        True,
        DirtyMagic,
        Megabyte,
        Revert
    }

    Answer public answer;

    constructor(Answer answer_) {
        answer = answer_;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        Answer what = answer;
        assembly {
            switch what
            case 0 { return(0, 0) }
            case 1 {
                mstore(0, shl(224, 0x1626ba7e)) // the magic value, but not a whole word
                return(0, 4)
            }
            case 2 {
                mstore(0, 1)
                return(0, 32)
            }
            case 3 {
                mstore(0, or(shl(224, 0x1626ba7e), 1))
                return(0, 32)
            }
            case 4 { return(0, 1000000) }
            default { revert(0, 100000) }
        }
    }
}
