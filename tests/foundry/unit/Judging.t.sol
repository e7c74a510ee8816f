// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {IOracleRegistry} from "../../../interfaces/IOracleRegistry.sol";
import {Wallet} from "../../../contracts/test/Actors.sol";
import {Bench} from "./Bench.sol";
import {vm} from "../Vm.sol";

/// @dev Verdicts, disputes, rulings and settlement.
contract JudgingTest is Bench {
    uint32 private constant END = NOW + CHALLENGE;

    // ------------------------------------------------------------------------------------------ validate

    function test_validate__accepting_in_the_last_second__settles() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _delivered(terms);
        bytes memory data = _validate(id, terms, _good(id, terms));
        vm.warp(END);
        _expect(address(escrow));
        emit IJobEscrow.JobValidated(id, validator, true, IJobEscrow.Method.Replayed, 7, "report");
        _expect(address(escrow));
        emit IJobEscrow.JobSettled(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Replayed, CHARGE, FEE, 0);
        _expect(address(nft));
        emit IERC4906.MetadataUpdate(id);
        _expect(address(registry));
        emit IOracleRegistry.BondReleased(oracle, BOND);

        _do(stranger, 0, data);

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Replayed);
        _owes(550_001, 400_001, 50_001);
        _owesBonds(0, 0, 0);
        _stakeIs(STAKE, 0);
        _minted(id);
    }

    function test_validate__every_method__has_its_tier() external {
        IJobEscrow.Terms memory terms = _judged();
        for (uint8 i = 0; i < 4; ++i) {
            uint256 id = _delivered(terms);
            _do(stranger, 0, _validate(id, terms, _verdict(id, terms, true, IJobEscrow.Method(i))));
            _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier(i + 2));
            id = _refusedBy(terms, IJobEscrow.Method(i));
            _ended(id, IJobEscrow.State.Rejected, IJobEscrow.Tier(i + 2));
        }
    }

    function test_validate__without_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _unbonded(_judged());
        uint256 id = _delivered(terms);
        _doWithoutBond(stranger, 0, _validate(id, terms, _good(id, terms)));
        id = _delivered(terms);
        _doWithoutBond(stranger, 0, _validate(id, terms, _bad(id, terms)));
        terms.bond = 1; // the smallest bond is one, too
        id = _delivered(terms);
        _do(stranger, 0, _validate(id, terms, _good(id, terms)));
        _stakeIs(STAKE, 0);
    }

    function test_validate__rejecting_without_arbiter__is_final() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _delivered(terms);
        bytes memory data = _validate(id, terms, _bad(id, terms));
        _expect(address(escrow));
        emit IJobEscrow.JobValidated(id, validator, false, IJobEscrow.Method.Canary, 7, "report");
        _expect(address(escrow));
        emit IJobEscrow.JobSettled(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Canary, 0, FEE, BOND);
        _expect(address(registry));
        emit IOracleRegistry.BondSlashed(oracle, BOND);
        _expect(address(nft));
        emit IERC4906.MetadataUpdate(id);

        _do(stranger, 0, data);

        _ended(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Canary);
        _owes(950_002, 0, 50_001);
        _owesBonds(BOND, 0, 0);
        _stakeIs(STAKE - BOND, 0);
        _minted(id);
    }

    function test_validate__rejecting_with_arbiter__starts_the_challenge_period_anew() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _delivered(terms);
        bytes memory data = _validate(id, terms, _bad(id, terms));
        vm.warp(END);
        _expect(address(escrow));
        emit IJobEscrow.JobValidated(id, validator, false, IJobEscrow.Method.Canary, 7, "report");

        _do(stranger, 0, data);

        _is(id, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified, END + CHALLENGE);
        _remembers(id, CHARGE, true, IJobEscrow.Party.Nobody);
        _owes(0, 0, 0);
        _stakeIs(STAKE, BOND);
        bytes memory judged = abi.encodeWithSelector(IJobEscrow.AlreadyJudged.selector, id);
        _refuse(stranger, 0, data, judged);
        _refuse(stranger, 0, _validate(id, terms, _good(id, terms)), judged);
    }

    function test_validate__too_late_or_forged__is_refused() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _delivered(terms);
        bytes memory data = _validate(id, terms, _good(id, terms));
        vm.warp(END + 1);
        _refuse(stranger, 0, data, _tooLate(id, END));
        vm.warp(END);
        IJobEscrow.Attestation memory verdict =
            attest(VALIDATOR, id, terms, "other", true, IJobEscrow.Method.Replayed);
        _refuse(validator, 0, _validate(id, terms, verdict), _invalidAttestation(id));
        verdict = attest(ORACLE, id, terms, RESULT, true, IJobEscrow.Method.Replayed);
        _refuse(stranger, 0, _validate(id, terms, verdict), _invalidAttestation(id));
        terms.validator = oracle; // other terms
        _refuse(stranger, 0, _validate(id, terms, verdict), _mismatch(id));
    }

    function test_validate__not_completed__is_refused() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _accepted(terms);
        bytes memory data = _validate(id, terms, _good(id, terms));
        _refuse(stranger, 0, data, _wrongState(id, IJobEscrow.State.Accepted));
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
        _dispute(id, terms, requester);
        _refuse(stranger, 0, data, _wrongState(id, IJobEscrow.State.Disputed));
        id = _delivered(terms);
        data = _validate(id, terms, _good(id, terms));
        _do(stranger, 0, data);
        _refuse(stranger, 0, data, _wrongState(id, IJobEscrow.State.Settled));
    }

    function test_validate__contract_as_validator__signs_by_erc_1271() external {
        IJobEscrow.Terms memory terms = _judged();
        terms.validator = address(new Wallet(validator));
        uint256 id = _delivered(terms);
        bytes memory data = _validate(id, terms, _good(id, terms));
        IJobEscrow.Attestation memory verdict =
            attest(STRANGER, id, terms, RESULT, true, IJobEscrow.Method.Replayed);
        _refuse(stranger, 0, _validate(id, terms, verdict), _invalidAttestation(id));

        _do(stranger, 0, data);

        _owesOf(address(token), terms.validator, FEE);
        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Replayed);
    }

    function test_attestationDigest__any_verdict__is_what_the_validator_signs() external view {
        IJobEscrow.Terms memory terms = _full();
        IJobEscrow.Attestation memory verdict = _bad(9, terms);
        bytes memory signature = verdict.signature;
        bytes32 digest = escrow.attestationDigest(9, terms, RESULT, verdict);
        (bytes32 r, bytes32 s) = (bytes32(0), bytes32(0));
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        require(ecrecover(digest, uint8(signature[64]), r, s) == validator);
    }

    // ------------------------------------------------------------------------------------- validateBatch

    function test_validateBatch__accepting_and_rejecting__each_as_alone() external {
        IJobEscrow.Terms memory terms = _judged();
        IJobEscrow.BatchedVerdict[] memory batch = new IJobEscrow.BatchedVerdict[](2);
        batch[0] = _item(_delivered(terms), terms, true);
        batch[1] = _item(_delivered(terms), terms, false);
        vm.warp(END);

        require(_validateBatch(batch) == 2);

        _ended(batch[0].jobId, IJobEscrow.State.Settled, IJobEscrow.Tier.Replayed);
        _ended(batch[1].jobId, IJobEscrow.State.Rejected, IJobEscrow.Tier.Canary);
        _owes(550_001 + 950_002, 400_001, 100_002);
        _stakeIs(STAKE - BOND, 0);
    }

    function test_validateBatch__what_cannot_take_a_verdict_any_more__is_skipped() external {
        IJobEscrow.Terms memory terms = _full();
        IJobEscrow.BatchedVerdict[] memory batch = new IJobEscrow.BatchedVerdict[](7);
        batch[0] = _item(_delivered(terms), terms, true); // too late
        vm.warp(NOW + 1);
        batch[1] = _item(_disputed(terms, requester), terms, true);
        batch[2] = _item(_delivered(terms), terms, false);
        batch[3] = _item(batch[2].jobId, terms, true); // judged already
        batch[4] = _item(_delivered(terms), _judged(), true); // under other terms
        batch[5] = _item(_accepted(terms), terms, true);
        batch[6] = _item(99, terms, true);
        vm.warp(END + 1);

        require(_validateBatch(batch) == 1);

        _is(batch[0].jobId, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified, END);
        _is(batch[1].jobId, IJobEscrow.State.Disputed, IJobEscrow.Tier.Unverified, NOW + 1 + RULING);
        _is(batch[2].jobId, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified, END + 1 + CHALLENGE);
        _remembers(batch[2].jobId, CHARGE, true, IJobEscrow.Party.Nobody);
        _remembers(batch[4].jobId, CHARGE, false, IJobEscrow.Party.Nobody);
        _owes(0, 0, 0);
    }

    function test_validateBatch__a_forged_verdict__reverts_all() external {
        IJobEscrow.Terms memory terms = _judged();
        IJobEscrow.BatchedVerdict[] memory batch = new IJobEscrow.BatchedVerdict[](2);
        batch[0] = _item(_delivered(terms), terms, true);
        batch[1] = _item(_delivered(terms), terms, true);
        batch[1].attestation.accepted = false;
        bytes memory invalid = _invalidAttestation(batch[1].jobId);
        _refuse(stranger, 0, abi.encodeCall(escrow.validateBatch, (batch)), invalid);
        _is(batch[0].jobId, IJobEscrow.State.Completed, IJobEscrow.Tier.Unverified, END);
        require(_validateBatch(new IJobEscrow.BatchedVerdict[](0)) == 0);
    }

    // ------------------------------------------------------------------------------------------- dispute

    function test_dispute__by_the_requester_in_the_last_second__opens_it() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        _disputes(terms, requester, IJobEscrow.Party.Requester);
    }

    function test_dispute__by_the_oracle__opens_it() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        _disputes(terms, oracle, IJobEscrow.Party.Oracle);
    }

    function test_dispute__oracle_that_is_its_own_requester__counts_as_requester() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        (terms.requester, terms.payer, terms.oracle) = (oracle, oracle, oracle);
        uint256 id = _disputed(terms, oracle);
        _remembers(id, CHARGE, false, IJobEscrow.Party.Requester);
    }

    function test_dispute__after_a_rejection__remembers_it() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _refusedBy(terms, IJobEscrow.Method.Agreed);
        _dispute(id, terms, oracle);
        _remembers(id, CHARGE, true, IJobEscrow.Party.Oracle);
    }

    function test_dispute__without_the_bond_or_right_or_time__is_refused() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _delivered(terms);
        bytes memory data = abi.encodeCall(escrow.dispute, (id, terms, WHY));
        _refuse(requester, BOND - 1, data, _wrongValue(BOND - 1, BOND));
        _refuse(oracle, BOND + 1, data, _wrongValue(BOND + 1, BOND));
        address[4] memory others = [sponsor, validator, arbiter, stranger];
        for (uint256 i = 0; i < 4; ++i) _refuse(others[i], BOND, data, _notAllowed(id, others[i]));
        vm.warp(END + 1);
        _refuse(requester, BOND, data, _tooLate(id, END));
    }

    function test_dispute__no_arbiter_or_wrong_state_or_other_terms__is_refused() external {
        IJobEscrow.Terms memory terms = _judged();
        uint256 id = _delivered(terms);
        _refuse(requester, BOND, abi.encodeCall(escrow.dispute, (id, terms, WHY)), _invalid("arbiter"));
        terms.arbiter = arbiter;
        _refuse(requester, BOND, abi.encodeCall(escrow.dispute, (id, terms, WHY)), _mismatch(id));
        id = _accepted(terms);
        bytes memory data = abi.encodeCall(escrow.dispute, (id, terms, WHY));
        _refuse(requester, BOND, data, _wrongState(id, IJobEscrow.State.Accepted));
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
        _do(requester, BOND, data);
        _refuse(oracle, BOND, data, _wrongState(id, IJobEscrow.State.Disputed));
    }

    // ------------------------------------------------------------------------------------ submitEvidence

    function test_submitEvidence__every_party__is_heard() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _disputed(terms, requester);
        bytes memory data = abi.encodeCall(escrow.submitEvidence, (id, terms, WHY));
        address[4] memory parties = [requester, sponsor, oracle, validator];
        for (uint256 i = 0; i < 4; ++i) {
            _expect(address(escrow));
            emit IJobEscrow.JobEvidence(id, parties[i], WHY);
            _do(parties[i], 0, data);
        }
        _refuse(arbiter, 0, data, _notAllowed(id, arbiter));
        _refuse(stranger, 0, data, _notAllowed(id, stranger));
        terms.validator = stranger;
        _refuse(stranger, 0, abi.encodeCall(escrow.submitEvidence, (id, terms, WHY)), _mismatch(id));
    }

    function test_submitEvidence__not_disputed__is_refused() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _delivered(terms);
        bytes memory data = abi.encodeCall(escrow.submitEvidence, (id, terms, WHY));
        _refuse(requester, 0, data, _wrongState(id, IJobEscrow.State.Completed));
    }

    // ---------------------------------------------------------------------------------------------- rule

    function test_rule__a_share__splits_charge_and_bonds() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _disputed(terms, requester);
        vm.warp(NOW + RULING);
        _expect(address(escrow));
        emit IJobEscrow.JobSettled(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Ruled, 133_320, 0, 46_672);
        _expect(address(registry));
        emit IOracleRegistry.BondSlashed(oracle, 46_672);
        _expect(address(nft));
        emit IERC4906.MetadataUpdate(id);
        _expect(address(registry));
        emit IOracleRegistry.BondReleased(oracle, 23_331);

        _do(arbiter, 0, abi.encodeCall(escrow.rule, (id, terms, 3_333)));

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Ruled);
        _owes(866_683, 133_320, 0);
        _owesBonds(46_672, 23_331, 46_672);
        _stakeIs(STAKE - 46_672, 0);
    }

    function test_rule__oracle_disputed__gives_its_lost_bond_to_the_payer() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _refusedBy(terms, IJobEscrow.Method.Agreed);
        _dispute(id, terms, oracle);

        _do(arbiter, 0, abi.encodeCall(escrow.rule, (id, terms, 3_333)));

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Ruled);
        _owes(816_682, 133_320, 50_001); // the validator judged, so it has its fee
        _owesBonds(2 * 46_672, 23_331, 0);
        _stakeIs(STAKE - 46_672, 0);
    }

    function test_rule__for_the_oracle__gives_it_everything() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        uint256 id = _disputed(terms, requester);
        _expect(address(escrow));
        emit IJobEscrow.JobSettled(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Ruled, CHARGE, 0, 0);
        _do(arbiter, 0, abi.encodeCall(escrow.rule, (id, terms, 10_000)));
        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Ruled);
        _owes(600_002, 400_001, 0);
        _owesBonds(0, BOND, 0);
        _stakeIs(STAKE, 0);
    }

    function test_rule__against_the_oracle__rejects_the_result() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        uint256 id = _disputed(terms, requester);
        _expect(address(escrow));
        emit IJobEscrow.JobSettled(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Ruled, 0, 0, BOND);
        _do(arbiter, 0, abi.encodeCall(escrow.rule, (id, terms, 0)));
        _ended(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Ruled);
        _owes(BUDGET, 0, 0);
        _owesBonds(BOND, 0, BOND);
        _stakeIs(STAKE - BOND, 0);
    }

    function test_rule__smallest_share__is_no_rejection() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        uint256 id = _disputed(terms, requester);
        _do(arbiter, 0, abi.encodeCall(escrow.rule, (id, terms, 1)));
        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Ruled);
        _owes(999_963, 40, 0);
        _owesBonds(69_996, 7, 69_996);
        _stakeIs(STAKE - 69_996, 0);
    }

    function test_rule__nothing_to_keep_of_the_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _unbonded(_arbitrated());
        uint256 id = _disputed(terms, requester);
        _doWithoutBond(arbiter, 0, abi.encodeCall(escrow.rule, (id, terms, 5_000)));
        _owes(800_003, 200_000, 0);
    }

    function test_rule__too_late_or_by_another_or_more_than_all__is_refused() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        uint256 id = _disputed(terms, requester);
        bytes memory data = abi.encodeCall(escrow.rule, (id, terms, 10_000));
        _refuse(requester, 0, data, _notAllowed(id, requester));
        bytes memory high = abi.encodeWithSelector(IJobEscrow.ShareTooHigh.selector, 10_001);
        _refuse(arbiter, 0, abi.encodeCall(escrow.rule, (id, terms, 10_001)), high);
        vm.warp(NOW + RULING + 1);
        _refuse(arbiter, 0, data, _tooLate(id, NOW + RULING));
        terms.arbiter = stranger;
        _refuse(stranger, 0, abi.encodeCall(escrow.rule, (id, terms, 1)), _mismatch(id));
    }

    function test_rule__not_disputed__is_refused() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        uint256 id = _delivered(terms);
        bytes memory data = abi.encodeCall(escrow.rule, (id, terms, 1));
        _refuse(arbiter, 0, data, _wrongState(id, IJobEscrow.State.Completed));
        _dispute(id, terms, oracle);
        _do(arbiter, 0, data);
        _refuse(arbiter, 0, data, _wrongState(id, IJobEscrow.State.Settled));
    }

    // -------------------------------------------------------------------------------------------- settle

    function test_settle__silence__pays_the_oracle_but_no_validator() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _delivered(terms);
        bytes memory data = abi.encodeCall(escrow.settle, (id, terms));
        vm.warp(END);
        _refuse(oracle, 0, data, _tooEarly(id, END));
        vm.warp(END + 1);
        _expect(address(escrow));
        emit IJobEscrow.JobSettled(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Unchallenged, CHARGE, 0, 0);
        _expect(address(nft));
        emit IERC4906.MetadataUpdate(id);
        _expect(address(registry));
        emit IOracleRegistry.BondReleased(oracle, BOND);

        _do(stranger, 0, data);

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Unchallenged);
        _owes(600_002, 400_001, 0);
        _owesBonds(0, 0, 0);
        _stakeIs(STAKE, 0);
        _refuse(stranger, 0, data, _wrongState(id, IJobEscrow.State.Settled));
    }

    function test_settle__without_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _unbonded(_full());
        uint256 id = _delivered(terms);
        uint256 rejected = _refusedBy(terms, IJobEscrow.Method.Canary);
        vm.warp(END + 1);
        _doWithoutBond(stranger, 0, abi.encodeCall(escrow.settle, (id, terms)));
        _doWithoutBond(stranger, 0, abi.encodeCall(escrow.settle, (rejected, terms)));
    }

    function test_settle__rejected_and_unanswered__slashes() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _refusedBy(terms, IJobEscrow.Method.Agreed);
        vm.warp(END + 1);
        _expect(address(escrow));
        emit IJobEscrow.JobSettled(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Agreed, 0, FEE, BOND);

        _do(stranger, 0, abi.encodeCall(escrow.settle, (id, terms)));

        _ended(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Agreed);
        _owes(950_002, 0, 50_001);
        _owesBonds(BOND, 0, 0);
        _stakeIs(STAKE - BOND, 0);
    }

    function test_settle__arbiter_silent_on_the_requesters_dispute__is_as_if_undisputed() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _disputed(terms, requester);
        bytes memory data = abi.encodeCall(escrow.settle, (id, terms));
        vm.warp(NOW + RULING);
        _refuse(stranger, 0, data, _tooEarly(id, NOW + RULING));
        vm.warp(NOW + RULING + 1);

        _do(stranger, 0, data);

        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Unchallenged);
        _owes(600_002, 400_001, 0);
        _owesBonds(0, 0, BOND);
        _stakeIs(STAKE, 0);
    }

    function test_settle__arbiter_silent_on_the_oracles_dispute__leaves_the_rejection() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _refusedBy(terms, IJobEscrow.Method.Statistical);
        _dispute(id, terms, oracle);
        vm.warp(NOW + RULING + 1);

        _do(stranger, 0, abi.encodeCall(escrow.settle, (id, terms)));

        _ended(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Statistical);
        _owes(950_002, 0, 50_001);
        _owesBonds(BOND, BOND, 0);
        _stakeIs(STAKE - BOND, 0);
    }

    function test_settle__not_delivered_or_other_terms__is_refused() external {
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _approved(terms);
        vm.warp(DELIVER_BY + 1);
        bytes memory data = abi.encodeCall(escrow.settle, (id, terms));
        _refuse(stranger, 0, data, _wrongState(id, IJobEscrow.State.Approved));
        terms.payer = stranger;
        _refuse(stranger, 0, abi.encodeCall(escrow.settle, (id, terms)), _mismatch(id));
        bytes memory none = _wrongState(id + 1, IJobEscrow.State.None);
        _refuse(stranger, 0, abi.encodeCall(escrow.settle, (id + 1, terms)), none);
    }

    // -------------------------------------------------------------------------------------------- parts

    function _disputes(IJobEscrow.Terms memory terms, address by, IJobEscrow.Party party) private {
        uint256 id = _delivered(terms);
        vm.warp(END);
        _expect(address(escrow));
        emit IJobEscrow.JobStateChanged(id, IJobEscrow.State.Disputed, by, WHY);
        _expect(address(nft));
        emit IERC4906.MetadataUpdate(id);

        _do(by, BOND, abi.encodeCall(escrow.dispute, (id, terms, WHY)));

        _is(id, IJobEscrow.State.Disputed, IJobEscrow.Tier.Unverified, END + RULING);
        _remembers(id, CHARGE, false, party);
        require(address(escrow).balance == BOND);
        _stakeIs(STAKE, BOND);
    }

    function _validate(
        uint256 id,
        IJobEscrow.Terms memory terms,
        IJobEscrow.Attestation memory verdict
    ) private view returns (bytes memory) {
        return abi.encodeCall(escrow.validate, (id, terms, verdict));
    }

    function _item(
        uint256 id,
        IJobEscrow.Terms memory terms,
        bool accepted
    ) private view returns (IJobEscrow.BatchedVerdict memory) {
        return IJobEscrow.BatchedVerdict(id, terms, accepted ? _good(id, terms) : _bad(id, terms));
    }

    function _validateBatch(IJobEscrow.BatchedVerdict[] memory batch) private returns (uint256) {
        return abi.decode(_do(stranger, 0, abi.encodeCall(escrow.validateBatch, (batch))), (uint256));
    }
}
