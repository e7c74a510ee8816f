// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";

/// @title The one storage slot of a job
/// @dev From the most significant bit: 216 bits terms hash | 4 bits tier | 4 bits state | 32 bits deadline.
/// An empty slot reads as state None.
library JobSlots {
    type Slot is bytes32;

    uint256 private constant _STATE_SHIFT = 32;
    uint256 private constant _TIER_SHIFT = 36;
    uint256 private constant _NIBBLE = 0x0f;

    function pack(
        bytes27 termsHash_,
        IJobEscrow.State state_,
        IJobEscrow.Tier tier_,
        uint256 deadline_
    ) internal pure returns (Slot) {
        // Bounded: state has 16 values, tier 7, and every deadline is checked against uint32 at creation.
        uint256 low = (uint256(tier_) << _TIER_SHIFT) | (uint256(state_) << _STATE_SHIFT) | uint32(deadline_);
        return Slot.wrap(bytes32(termsHash_) | bytes32(low));
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

    function state(Slot slot) internal pure returns (IJobEscrow.State) {
        return IJobEscrow.State((uint256(Slot.unwrap(slot)) >> _STATE_SHIFT) & _NIBBLE);
    }

    function tier(Slot slot) internal pure returns (IJobEscrow.Tier) {
        return IJobEscrow.Tier((uint256(Slot.unwrap(slot)) >> _TIER_SHIFT) & _NIBBLE);
    }

    /// @dev The hash a job's slot keeps: keccak256(abi.encode(terms)), truncated. Terms are all static, so calldata
    /// holds that very encoding; one with dirty upper bits hashes to something else and matches no job.
    function hash(IJobEscrow.Terms calldata terms) internal pure returns (bytes27 result) {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            calldatacopy(copy, terms, 448)
            result := and(keccak256(copy, 448), not(0xffffffffff))
        }
    }

    function deadline(Slot slot) internal pure returns (uint256) {
        return uint32(uint256(Slot.unwrap(slot)));
    }
}
