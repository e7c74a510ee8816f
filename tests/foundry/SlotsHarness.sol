// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";
import {JobSlots} from "../../contracts/libraries/JobSlots.sol";

/// @dev The library's functions as external ones: some read calldata.
contract SlotsHarness {
    using JobSlots for JobSlots.Slot;

    function pack(
        bytes27 termsHash,
        IJobEscrow.State state,
        IJobEscrow.Tier tier,
        uint256 deadline
    ) external pure returns (bytes32) {
        return JobSlots.Slot.unwrap(JobSlots.pack(termsHash, state, tier, deadline));
    }

    function moved(
        bytes32 slot,
        IJobEscrow.State state,
        IJobEscrow.Tier tier,
        uint256 deadline
    ) external pure returns (bytes32) {
        return JobSlots.Slot.unwrap(JobSlots.Slot.wrap(slot).moved(state, tier, deadline));
    }

    function read(bytes32 slot) external pure returns (bytes27, IJobEscrow.State, IJobEscrow.Tier, uint256) {
        JobSlots.Slot packed = JobSlots.Slot.wrap(slot);
        return (packed.termsHash(), packed.state(), packed.tier(), packed.deadline());
    }

    function hash(IJobEscrow.Terms calldata terms) external pure returns (bytes27) {
        return JobSlots.hash(terms);
    }

    function hashWithOracle(IJobEscrow.Terms calldata terms, address oracle) external pure returns (bytes27) {
        return JobSlots.hashWithOracle(terms, oracle);
    }

    function hashWithBudget(IJobEscrow.Terms calldata terms, uint96 budget) external pure returns (bytes27) {
        return JobSlots.hashWithBudget(terms, budget);
    }

    function structHash(IJobEscrow.Terms calldata terms, bytes32 typeHash) external pure returns (bytes32) {
        return JobSlots.structHash(terms, typeHash);
    }

    function hashWithSalt(IJobEscrow.Terms calldata terms, bytes32 salt) external pure returns (bytes32) {
        return JobSlots.hashWithSalt(terms, salt);
    }
}
