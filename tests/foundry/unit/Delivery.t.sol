// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {IOracleRegistry} from "../../../interfaces/IOracleRegistry.sol";
import {Bench} from "./Bench.sol";
import {vm} from "../Vm.sol";

/// @dev {deliver}, {deliverAttested}, {deliverBatch}.
contract DeliveryTest is Bench {
    // ------------------------------------------------------------------------------------------- deliver

    function test_deliver__trusted_oracle__settles_at_once() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _accepted(terms);
        vm.warp(DELIVER_BY);
        _expect(address(escrow));
        emit IJobEscrow.JobDelivered(
            id, oracle, RESULT, CHARGE, IJobEscrow.State.Settled, IJobEscrow.Tier.Unverified
        );
        _expect(address(registry));
        emit IOracleRegistry.BondReleased(oracle, BOND);

        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Unverified);
        _owes(600_002, 400_001, 0);
        _owesBonds(0, 0, 0);
        _stakeIs(STAKE, 0);
        _minted(id);
    }

    function test_deliver__without_acceptance_in_the_last_second__settles_without_a_bond() external {
        IJobEscrow.Terms memory terms = _terms();
        terms.bond = uint96(STAKE + 1); // it has no such stake, and needs none
        uint256 id = _create(terms);
        vm.warp(ACCEPT_BY);

        _doWithoutBond(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Unverified);
        _owes(600_002, 400_001, 0);
        _minted(id);
    }

    function test_deliver__accepted_without_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _unbonded(_terms());
        uint256 id = _accepted(terms);
        _doWithoutBond(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
        terms = _unbonded(_arbitrated());
        id = _accepted(terms);
        _doWithoutBond(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
        id = _create(terms);
        _doWithoutBond(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
    }

    function test_deliver__native__credits_in_the_native_currency() external {
        IJobEscrow.Terms memory terms = _own();
        uint256 id = _delivered(terms);
        require(id == 1 && nft.ownerOf(1) == requester);
        _owesOf(NATIVE, oracle, 400_001);
        _owesOf(NATIVE, requester, 600_002);
    }

    function test_deliver__challengeable__waits_with_the_bond_locked() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _accepted(terms);
        vm.warp(DELIVER_BY);
        _expect(address(escrow));
        emit IJobEscrow.JobDelivered(
            id, oracle, RESULT, CHARGE, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified
        );

        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));

        _is(id, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified, DELIVER_BY + CHALLENGE);
        _remembers(id, CHARGE, false, IJobEscrow.Party.Nobody);
        _owes(0, 0, 0);
        _stakeIs(STAKE, BOND);
        _minted(id);
        require(escrow.matches(id, terms));
    }

    function test_deliver__challengeable_without_acceptance__locks_the_bond() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _create(terms);
        _expect(address(registry));
        emit IOracleRegistry.BondLocked(oracle, BOND);

        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));

        _is(id, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified, NOW + CHALLENGE);
        _stakeIs(STAKE, BOND);
        terms.bond = 1; // the smallest bond is one, too
        id = _create(terms);
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
        _stakeIs(STAKE, BOND + 1);
    }

    function test_deliver__promoted__bills_the_new_budget() external {
        IJobEscrow.Terms memory terms = _own();
        uint256 id = _accepted(terms);
        _do(requester, EXTRA, abi.encodeCall(escrow.promote, (id, terms, EXTRA, "")));
        bytes memory old = abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT));
        _refuse(oracle, 0, old, _mismatch(id));
        terms.budget += EXTRA;
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, BUDGET + EXTRA, RESULT)));
        _owesOf(NATIVE, oracle, BUDGET + EXTRA);
        _owesOf(NATIVE, requester, 0);
        _stakeIs(STAKE, 0);
    }

    function test_deliver__charge__up_to_what_is_left_of_the_budget() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _accepted(terms);
        uint96 cap = BUDGET - FEE;
        bytes memory high = abi.encodeWithSelector(IJobEscrow.ChargeTooHigh.selector, id, cap + 1, cap);
        _refuse(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, cap + 1, RESULT)), high);
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, cap, RESULT)));
        _remembers(id, cap, false, IJobEscrow.Party.Nobody);
        terms = _terms();
        id = _accepted(terms);
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, 0, RESULT)));
        _owes(BUDGET, 0, 0);
    }

    function test_deliver__too_late__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 fresh = _create(terms);
        uint256 id = _accepted(terms);
        vm.warp(ACCEPT_BY + 1);
        bytes memory data = abi.encodeCall(escrow.deliver, (fresh, terms, CHARGE, RESULT));
        _refuse(oracle, 0, data, _tooLate(fresh, ACCEPT_BY));
        vm.warp(DELIVER_BY + 1);
        data = abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT));
        _refuse(oracle, 0, data, _tooLate(id, DELIVER_BY));
    }

    function test_deliver__by_another_or_nothing_or_other_terms__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _accepted(terms);
        bytes memory data = abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT));
        _refuse(otherOracle, 0, data, _notAllowed(id, otherOracle));
        bytes memory empty = abi.encodeWithSelector(IJobEscrow.EmptyResult.selector, id);
        _refuse(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, 0)), empty);
        terms.token = NATIVE;
        _refuse(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)), _mismatch(id));
        terms = _open();
        id = _create(terms);
        data = abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT));
        _refuse(oracle, 0, data, _notAllowed(id, oracle)); // it has not accepted
    }

    function test_deliver__twice_or_after_the_end__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _delivered(terms);
        bytes memory data = abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT));
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Settled));
        terms = _arbitrated();
        id = _delivered(terms);
        data = abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT));
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Completed));
        _dispute(id, terms, requester);
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Disputed));
    }

    // ----------------------------------------------------------------------------------- deliverAttested

    function test_deliverAttested__accepting__settles_at_once() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _accepted(terms);
        bytes memory data = _attested(id, terms, _good(id, terms));
        _expect(address(escrow));
        emit IJobEscrow.JobValidated(id, validator, true, IJobEscrow.Method.Replayed, 7, "report");
        _expect(address(escrow));
        emit IJobEscrow.JobDelivered(
            id, oracle, RESULT, CHARGE, IJobEscrow.State.Settled, IJobEscrow.Tier.Replayed
        );
        _expect(address(registry));
        emit IOracleRegistry.BondReleased(oracle, BOND);

        _do(oracle, 0, data);

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Replayed);
        _owes(550_001, 400_001, 50_001);
        _owesBonds(0, 0, 0);
        _stakeIs(STAKE, 0);
        _minted(id);
    }

    function test_deliverAttested__every_method__has_its_tier() external {
        IJobEscrow.Terms memory terms = _judged();
        for (uint8 i = 0; i < 4; ++i) {
            uint256 id = _accepted(terms);
            _do(oracle, 0, _attested(id, terms, _verdict(id, terms, true, IJobEscrow.Method(i))));
            _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier(i + 2));
        }
    }

    function test_deliverAttested__without_acceptance_or_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _create(terms);
        _doWithoutBond(oracle, 0, _attested(id, terms, _good(id, terms)));
        terms = _unbonded(_judged());
        id = _accepted(terms);
        _doWithoutBond(oracle, 0, _attested(id, terms, _good(id, terms)));
        _minted(id);
    }

    function test_deliverAttested__free_validator__pays_the_payer_the_rest() external {
        IJobEscrow.Terms memory terms = _judged();
        terms.validatorFee = 0;
        uint256 id = _accepted(terms);
        _do(oracle, 0, _attested(id, terms, _good(id, terms)));
        _owes(600_002, 400_001, 0);
    }

    function test_deliverAttested__rejecting__is_refused() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _accepted(terms);
        bytes memory rejecting = abi.encodeWithSelector(IJobEscrow.RejectingAttestation.selector, id);
        _refuse(oracle, 0, _attested(id, terms, _bad(id, terms)), rejecting);
    }

    function test_deliverAttested__signature_for_anything_else__is_refused() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _accepted(terms);
        bytes memory invalid = _invalidAttestation(id);
        IJobEscrow.Attestation memory verdict = _good(id, terms);
        verdict.distance += 1;
        _refuse(oracle, 0, _attested(id, terms, verdict), invalid);
        verdict = _good(id, terms);
        verdict.report = "other";
        _refuse(oracle, 0, _attested(id, terms, verdict), invalid);
        verdict = _good(id, terms);
        verdict.method = IJobEscrow.Method.Agreed;
        _refuse(oracle, 0, _attested(id, terms, verdict), invalid);
        verdict = _bad(id, terms);
        verdict.accepted = true;
        _refuse(oracle, 0, _attested(id, terms, verdict), invalid);
        verdict.signature = "";
        _refuse(oracle, 0, _attested(id, terms, verdict), invalid);
        _refuse(oracle, 0, _attested(id, terms, _good(id + 1, terms)), invalid);
        verdict = attest(STRANGER, id, terms, RESULT, true, IJobEscrow.Method.Replayed);
        _refuse(oracle, 0, _attested(id, terms, verdict), invalid);
        verdict = attest(VALIDATOR, id, terms, "other", true, IJobEscrow.Method.Replayed);
        _refuse(oracle, 0, _attested(id, terms, verdict), invalid);
    }

    function test_deliverAttested__no_validator__is_refused() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        uint256 id = _accepted(terms);
        IJobEscrow.Attestation memory verdict = _good(id, terms);
        _refuse(oracle, 0, _attested(id, terms, verdict), _invalidAttestation(id));
        verdict.signature = new bytes(65);
        _refuse(oracle, 0, _attested(id, terms, verdict), _invalidAttestation(id));
    }

    function test_deliverAttested__what_no_delivery_may_be__is_refused() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _accepted(terms);
        bytes memory data = _attested(id, terms, _good(id, terms));
        _refuse(requester, 0, data, _notAllowed(id, requester));
        vm.warp(DELIVER_BY + 1);
        _refuse(oracle, 0, data, _tooLate(id, DELIVER_BY));
        vm.warp(DELIVER_BY);
        _do(oracle, 0, data);
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Settled));
    }

    // -------------------------------------------------------------------------------------- deliverBatch

    function test_deliverBatch__plain_and_attested__each_as_alone() external {
        IJobEscrow.Terms memory terms = _judged();
        IJobEscrow.BatchedDelivery[] memory batch = new IJobEscrow.BatchedDelivery[](2);
        batch[0] = _item(_accepted(terms), terms, false);
        batch[1] = _item(_accepted(terms), terms, true);

        require(_deliverBatch(batch) == 2);

        _is(batch[0].jobId, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified, NOW + CHALLENGE);
        _ended(batch[1].jobId, IJobEscrow.State.Settled, IJobEscrow.Tier.Replayed);
        _owes(550_001, 400_001, 50_001);
        _stakeIs(STAKE, BOND);
        _minted(batch[0].jobId);
        _minted(batch[1].jobId);
    }

    function test_deliverBatch__every_deliverable_state__is_delivered() external {
        IJobEscrow.Terms memory terms = _terms();
        IJobEscrow.BatchedDelivery[] memory batch = new IJobEscrow.BatchedDelivery[](3);
        batch[0] = _item(_create(terms), terms, false);
        batch[1] = _item(_accepted(terms), terms, false);
        batch[2] = _item(_approved(terms), terms, false);
        vm.warp(ACCEPT_BY); // the last second of the first
        require(_deliverBatch(batch) == 3);
        _owes(3 * 600_002, 3 * 400_001, 0);
        _stakeIs(STAKE, 0);
    }

    function test_deliverBatch__what_others_or_time_spoiled__is_skipped() external {
        IJobEscrow.Terms memory terms = _terms();
        IJobEscrow.BatchedDelivery[] memory batch = new IJobEscrow.BatchedDelivery[](6);
        batch[0] = _item(_create(terms), terms, false);
        _do(requester, 0, abi.encodeCall(escrow.cancel, (batch[0].jobId, terms)));
        batch[1] = _item(_create(terms), terms, false); // too late
        batch[2] = _item(_accepted(terms), terms, false);
        batch[3] = batch[2]; // a second time
        batch[4] = _item(_accepted(terms), _open(), false); // under other terms
        batch[5] = _item(99, terms, false);
        vm.warp(ACCEPT_BY + 1);

        require(_deliverBatch(batch) == 1);

        _is(batch[0].jobId, IJobEscrow.State.Cancelled, IJobEscrow.Tier.Unverified, 0);
        _is(batch[1].jobId, IJobEscrow.State.Created, IJobEscrow.Tier.Unverified, ACCEPT_BY);
        _is(batch[2].jobId, IJobEscrow.State.Settled, IJobEscrow.Tier.Unverified, 0);
        _is(batch[4].jobId, IJobEscrow.State.Accepted, IJobEscrow.Tier.Unverified, DELIVER_BY);
    }

    function test_deliverBatch__anything_else_wrong__reverts_all() external {
        IJobEscrow.Terms memory terms = _judged();
        IJobEscrow.BatchedDelivery[] memory batch = new IJobEscrow.BatchedDelivery[](2);
        batch[0] = _item(_accepted(terms), terms, false);
        uint256 id = _accepted(terms);
        batch[1] = _item(id, terms, false);
        batch[1].result = 0;
        bytes memory empty = abi.encodeWithSelector(IJobEscrow.EmptyResult.selector, id);
        _refuse(oracle, 0, abi.encodeCall(escrow.deliverBatch, (batch)), empty);
        batch[1] = _item(id, terms, true);
        batch[1].attestation.distance += 1;
        _refuse(oracle, 0, abi.encodeCall(escrow.deliverBatch, (batch)), _invalidAttestation(id));
        batch[1] = _item(id, terms, false);
        bytes memory foreign = _notAllowed(batch[0].jobId, otherOracle);
        _refuse(otherOracle, 0, abi.encodeCall(escrow.deliverBatch, (batch)), foreign);
        _is(batch[0].jobId, IJobEscrow.State.Accepted, IJobEscrow.Tier.Unverified, DELIVER_BY);
    }

    function test_deliverBatch__none__delivers_none() external {
        require(_deliverBatch(new IJobEscrow.BatchedDelivery[](0)) == 0);
    }

    // -------------------------------------------------------------------------------------------- parts

    function _attested(
        uint256 id,
        IJobEscrow.Terms memory terms,
        IJobEscrow.Attestation memory verdict
    ) private view returns (bytes memory) {
        return abi.encodeCall(escrow.deliverAttested, (id, terms, CHARGE, RESULT, verdict));
    }

    function _item(
        uint256 id,
        IJobEscrow.Terms memory terms,
        bool attested
    ) private view returns (IJobEscrow.BatchedDelivery memory) {
        return IJobEscrow.BatchedDelivery(id, terms, CHARGE, RESULT, attested, _good(id, terms));
    }

    function _deliverBatch(IJobEscrow.BatchedDelivery[] memory batch) private returns (uint256) {
        return abi.decode(_do(oracle, 0, abi.encodeCall(escrow.deliverBatch, (batch))), (uint256));
    }
}
