// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";

/// @title The one storage slot of a job
/// @dev From the most significant bit: 216 bits terms hash | 4 bits tier | 4 bits state | 32 bits deadline.
/// An empty slot reads as state None.
library JobSlots {
    type Slot is bytes32;

    function pack(
        bytes27 termsHash_,
        IJobEscrow.State state_,
        IJobEscrow.Tier tier_,
        uint256 deadline_
    ) internal pure returns (Slot slot) {
        // Bounded: state has 16 values, tier 7, and every deadline is checked against uint32 at creation. Short values
        // may have dirty bits in assembly, so each is masked.
        assembly ("memory-safe") {
            let low := or(and(deadline_, 0xffffffff), or(shl(32, and(state_, 0x0f)), shl(36, and(tier_, 0x0f))))
            slot := or(and(termsHash_, not(0xffffffffff)), low)
        }
    }

    /// @dev The same job in another phase.
    function moved(
        Slot slot,
        IJobEscrow.State state_,
        IJobEscrow.Tier tier_,
        uint256 deadline_
    ) internal pure returns (Slot) {
        return pack(termsHash(slot), state_, tier_, deadline_);
    }

    function termsHash(Slot slot) internal pure returns (bytes27) {
        return bytes27(Slot.unwrap(slot));
    }

    function state(Slot slot) internal pure returns (IJobEscrow.State result) {
        assembly ("memory-safe") {
            result := and(shr(32, slot), 0x0f) // all 16 values of a nibble are states
        }
    }

    function tier(Slot slot) internal pure returns (IJobEscrow.Tier) {
        return IJobEscrow.Tier((uint256(Slot.unwrap(slot)) >> 36) & 0x0f);
    }

    function deadline(Slot slot) internal pure returns (uint256) {
        return uint32(uint256(Slot.unwrap(slot)));
    }

    /// @dev Byte offsets of fields in the encoding of terms, for {word}.
    uint256 internal constant REQUESTER = 0;
    uint256 internal constant PAYER = 32;
    uint256 internal constant TOKEN = 160;
    uint256 internal constant BUDGET = 192;
    uint256 internal constant VALIDATOR_FEE = 224;
    uint256 internal constant BOND = 256;
    uint256 internal constant CHALLENGE_PERIOD = 352;

    /// @dev A field of terms whose hash was compared with the job's: creation has checked that its upper bits are clean,
    /// so it is read without checking them again (some 50 gas each, on the path of every delivery).
    function word(IJobEscrow.Terms calldata terms, uint256 offset) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(terms, offset))
        }
    }

    /// @dev {word} as an address.
    function party(IJobEscrow.Terms calldata terms, uint256 offset) internal pure returns (address value) {
        assembly ("memory-safe") {
            value := calldataload(add(terms, offset))
        }
    }

    // Terms are all static, so calldata holds their very ABI encoding, which the functions below hash as it is. An
    // encoding with dirty upper bits hashes to something else and matches no job: creation refuses it.

    /// @dev The hash a job's slot keeps: keccak256(abi.encode(terms)), truncated.
    function hash(IJobEscrow.Terms calldata terms) internal pure returns (bytes27 result) {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            calldatacopy(copy, terms, 448)
            result := and(keccak256(copy, 448), not(0xffffffffff))
        }
    }

    /// @dev {hash} of the terms with another oracle (word 2).
    function hashWithOracle(IJobEscrow.Terms calldata terms, address oracle) internal pure returns (bytes27) {
        return _hashWith(terms, 64, uint160(oracle));
    }

    /// @dev {hash} of the terms with another budget (word 6).
    function hashWithBudget(IJobEscrow.Terms calldata terms, uint96 budget) internal pure returns (bytes27) {
        return _hashWith(terms, 192, budget);
    }

    /// @dev EIP-712 hashStruct: keccak256(typeHash ‖ abi.encode(terms)).
    function structHash(IJobEscrow.Terms calldata terms, bytes32 typeHash) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            mstore(copy, typeHash)
            calldatacopy(add(copy, 32), terms, 448)
            result := keccak256(copy, 480)
        }
    }

    /// @dev keccak256(abi.encode(terms, salt)).
    function hashWithSalt(IJobEscrow.Terms calldata terms, bytes32 salt) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            calldatacopy(copy, terms, 448)
            mstore(add(copy, 448), salt)
            result := keccak256(copy, 480)
        }
    }

    function _hashWith(
        IJobEscrow.Terms calldata terms,
        uint256 offset,
        uint256 changed
    ) private pure returns (bytes27 result) {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            calldatacopy(copy, terms, 448)
            mstore(add(copy, offset), changed)
            result := and(keccak256(copy, 448), not(0xffffffffff))
        }
    }
}
