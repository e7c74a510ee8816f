// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";
import {SlotsHarness} from "./SlotsHarness.sol";
import {World} from "./World.sol";
import {vm} from "./Vm.sol";

/// @dev Packing and hashing, against the ABI coder.
contract SlotsFuzzTest {
    SlotsHarness private slots = new SlotsHarness();

    function testFuzz_pack__any_parts__are_read_back(bytes27 terms, uint8 state, uint8 tier, uint32 deadline) external view {
        (IJobEscrow.State s, IJobEscrow.Tier t) = (IJobEscrow.State(state % 16), IJobEscrow.Tier(tier % 7));

        (bytes27 terms2, IJobEscrow.State s2, IJobEscrow.Tier t2, uint256 deadline2) =
            slots.read(slots.pack(terms, s, t, deadline));

        require(terms2 == terms && s2 == s && t2 == t && deadline2 == deadline);
    }

    function testFuzz_moved__any_slot__keeps_the_terms_only(bytes32 slot, uint8 state, uint8 tier, uint32 deadline) external view {
        (IJobEscrow.State s, IJobEscrow.Tier t) = (IJobEscrow.State(state % 16), IJobEscrow.Tier(tier % 7));

        bytes32 after_ = slots.moved(slot, s, t, deadline);

        require(after_ == slots.pack(bytes27(slot), s, t, deadline));
        require(bytes27(after_) == bytes27(slot));
    }

    function testFuzz_hash__any_terms__is_the_truncated_hash_of_their_encoding(IJobEscrow.Terms calldata terms) external view {
        require(slots.hash(terms) == bytes27(keccak256(abi.encode(terms))));
    }

    function testFuzz_hash__one_word_changed__is_the_hash_of_the_changed_terms(
        IJobEscrow.Terms calldata terms,
        address oracle,
        uint96 budget,
        bytes32 word
    ) external view {
        IJobEscrow.Terms memory changed = terms;
        changed.oracle = oracle;
        require(slots.hashWithOracle(terms, oracle) == bytes27(keccak256(abi.encode(changed))));
        changed = terms;
        changed.budget = budget;
        require(slots.hashWithBudget(terms, budget) == bytes27(keccak256(abi.encode(changed))));
        require(slots.structHash(terms, word) == keccak256(abi.encode(word, terms)));
        require(slots.hashWithSalt(terms, word) == keccak256(abi.encode(terms, word)));
    }
}

/// @dev Calls with anything in them, against what the documentation says.
contract EscrowFuzzTest is World {
    function testFuzz_attestation__any_verdict__has_the_documented_digest(
        uint256 jobId,
        IJobEscrow.Terms calldata terms,
        bytes32 result,
        bool accepted,
        uint8 method
    ) external view {
        IJobEscrow.Attestation memory verdict =
            attest(VALIDATOR, jobId, terms, result, accepted, IJobEscrow.Method(method % 4));

        bytes32 digest = escrow.attestationDigest(jobId, terms, result, verdict);

        (bytes32 r, bytes32 s, uint8 v) = _split(verdict.signature);
        require(ecrecover(digest, v, r, s) == vm.addr(VALIDATOR));
    }

    /// @dev Whoever calls anything on a job that does not exist, with whatever terms, changes nothing.
    function testFuzz_unknown_job__any_call_by_anyone__is_refused(
        address caller,
        uint256 jobId,
        IJobEscrow.Terms calldata terms,
        uint8 which
    ) external {
        vm.assume(uint160(caller) > 0xffff);
        bytes[11] memory calls = [
            abi.encodeCall(escrow.cancel, (jobId, terms)),
            abi.encodeCall(escrow.accept, (jobId, terms)),
            abi.encodeCall(escrow.reject, (jobId, terms, "")),
            abi.encodeCall(escrow.fail, (jobId, terms, "")),
            abi.encodeCall(escrow.claimRefund, (jobId, terms)),
            abi.encodeCall(escrow.promote, (jobId, terms, 0, "")),
            abi.encodeCall(escrow.deliver, (jobId, terms, 0, "x")),
            abi.encodeCall(escrow.dispute, (jobId, terms, "")),
            abi.encodeCall(escrow.submitEvidence, (jobId, terms, "")),
            abi.encodeCall(escrow.rule, (jobId, terms, 0)),
            abi.encodeCall(escrow.settle, (jobId, terms))
        ];
        vm.prank(caller);
        (bool ok, bytes memory answer) = address(escrow).call(calls[which % 11]);

        require(!ok);
        bytes memory expected = abi.encodeWithSelector(IJobEscrow.WrongState.selector, jobId, IJobEscrow.State.None);
        require(keccak256(answer) == keccak256(expected));
    }

    /// @dev A second calldata encoding of the same terms neither makes a job nor finds one.
    function testFuzz_dirty_terms__in_any_bit_above_a_value__are_refused(uint256 seed, uint8 field, uint8 bit) external {
        IJobEscrow.Terms memory terms = _terms(seed);
        uint256 id = _create(terms);
        uint256 word = field % 12; // the last two words are full
        uint256 width = word < 6 ? 160 : word < 9 ? 96 : 32;
        bytes memory data = abi.encodeCall(escrow.cancel, (id, terms));
        _flip(data, 4 + 32 * (1 + word), width + bit % (256 - width));

        vm.prank(terms.requester);
        (bool ok,) = address(escrow).call(data);
        require(!ok);
        data = abi.encodeCall(escrow.createJob, (terms));
        _flip(data, 4 + 32 * word, width + bit % (256 - width));
        vm.deal(terms.requester, terms.budget);
        vm.prank(terms.requester);
        (ok,) = address(escrow).call{value: terms.token == NATIVE ? terms.budget : 0}(data);
        require(!ok);
        require(escrow.jobCount() == id);
    }

    /// @dev A ruling splits charge and both bonds to the wei, and never more than there is.
    function testFuzz_rule__any_share__pays_out_exactly_what_was_locked(
        uint256 seed,
        uint96 charge,
        uint16 share,
        bool byOracle,
        bool rejected
    ) external {
        IJobEscrow.Terms memory terms = _terms(seed);
        terms.arbiter = vm.addr(ARBITER);
        terms.challengePeriod = 1 days;
        terms.bond = uint96(seed >> 77);
        if (!rejected) (terms.validator, terms.validatorFee) = (address(0), 0);
        else (terms.validator, terms.validatorFee) = (vm.addr(VALIDATOR), uint96((seed >> 33) % terms.budget));
        charge = uint96(charge % (uint256(terms.budget) - terms.validatorFee + 1));
        share = share % 10_001;
        uint256 id = _disputed(terms, charge, byOracle, rejected);

        vm.prank(terms.arbiter);
        escrow.rule(id, terms, share);

        uint256 toOracle = uint256(charge) * share / 10_000;
        uint256 kept = uint256(terms.bond) * share / 10_000;
        uint256 fee = rejected ? terms.validatorFee : 0;
        bool native = terms.token == NATIVE;
        _owed(terms.oracle, terms.token, toOracle + (native ? kept : 0));
        // The slashed part and, since payer and requester are one, the disputer's lost part.
        uint256 lost = 2 * (uint256(terms.bond) - kept);
        _owed(terms.payer, terms.token, terms.budget - toOracle - fee + (native ? lost : 0));
        if (!native) {
            _owed(terms.oracle, NATIVE, kept);
            _owed(terms.payer, NATIVE, lost);
        }
        if (rejected) _owed(terms.validator, terms.token, fee);
        uint256 held = native ? terms.budget : 0;
        require(address(escrow).balance == held + uint256(terms.bond) + (terms.bond - kept));
        (uint256 stake, uint256 locked) = registry.stakeOf(terms.oracle);
        require(stake == kept && locked == 0);
    }

    function testFuzz_createJobs__any_budgets__is_as_if_created_one_by_one(uint256 seed, uint8 count) external {
        IJobEscrow.Terms[] memory several = new IJobEscrow.Terms[](count % 8);
        uint256 total = 0;
        for (uint256 i = 0; i < several.length; ++i) {
            several[i] = _terms(uint256(keccak256(abi.encode(seed, i))));
            several[i].token = NATIVE;
            total += several[i].budget;
        }
        uint256 start = vm.snapshotState();
        for (uint256 i = 0; i < several.length; ++i) _create(several[i]);
        bytes32 singly = _picture(several.length, several);
        vm.revertToState(start);

        vm.deal(vm.addr(REQUESTER), total);
        vm.prank(vm.addr(REQUESTER));
        escrow.createJobs{value: total}(several);

        require(_picture(several.length, several) == singly);
    }

    function testFuzz_batches__any_jobs__are_as_if_made_one_by_one(uint256 seed, uint8 count) external {
        uint256 size = count % 5 + 1;
        IJobEscrow.Terms[] memory terms = new IJobEscrow.Terms[](size);
        IJobEscrow.BatchedDelivery[] memory deliveries = new IJobEscrow.BatchedDelivery[](size);
        IJobEscrow.BatchedVerdict[] memory verdicts = new IJobEscrow.BatchedVerdict[](size);
        _stake(vm.addr(ORACLE), 1e30);
        for (uint256 i = 0; i < size; ++i) {
            uint256 drawn = uint256(keccak256(abi.encode(seed, i)));
            terms[i] = _terms(drawn);
            (terms[i].validator, terms[i].challengePeriod) = (vm.addr(VALIDATOR), 1 days);
            uint256 id = _create(terms[i]);
            if (drawn & 1 == 0) _accept(id, terms[i]);
            bytes32 result = keccak256(abi.encode(drawn));
            bool attested = (drawn >> 1) & 3 == 0;
            IJobEscrow.Attestation memory verdict = attest(
                VALIDATOR, id, terms[i], result, attested || (drawn >> 3) & 1 == 0, IJobEscrow.Method(drawn % 4)
            );
            uint96 charge = uint96((drawn >> 9) % terms[i].budget);
            deliveries[i] = IJobEscrow.BatchedDelivery(id, terms[i], charge, result, attested, verdict);
            verdicts[i] = IJobEscrow.BatchedVerdict(id, terms[i], verdict);
        }
        uint256 start = vm.snapshotState();
        _singly(deliveries, verdicts);
        bytes32 singly = _picture(size, terms);
        vm.revertToState(start);

        vm.prank(vm.addr(ORACLE));
        require(escrow.deliverBatch(deliveries) == size);
        escrow.validateBatch(verdicts);

        require(_picture(size, terms) == singly);
    }

    // ------------------------------------------------------------------------------------------- parts

    function _singly(IJobEscrow.BatchedDelivery[] memory deliveries, IJobEscrow.BatchedVerdict[] memory verdicts) private {
        for (uint256 i = 0; i < deliveries.length; ++i) {
            IJobEscrow.BatchedDelivery memory d = deliveries[i];
            vm.prank(vm.addr(ORACLE));
            if (d.attested) escrow.deliverAttested(d.jobId, d.terms, d.charge, d.result, d.attestation);
            else escrow.deliver(d.jobId, d.terms, d.charge, d.result);
        }
        for (uint256 i = 0; i < verdicts.length; ++i) {
            if (deliveries[i].attested) continue;
            escrow.validate(verdicts[i].jobId, verdicts[i].terms, verdicts[i].attestation);
        }
    }

    /// @dev Everything there is to see of the first `count` jobs and their parties.
    function _picture(uint256 count, IJobEscrow.Terms[] memory terms) private view returns (bytes32 picture) {
        for (uint256 id = 1; id <= count; ++id) {
            (uint96 charge, bool rejected, IJobEscrow.Party party) = escrow.deliveryOf(id);
            require(escrow.matches(id, terms[id - 1]));
            (bool minted, bytes memory owner) = address(nft).staticcall(abi.encodeCall(nft.ownerOf, (id)));
            picture = keccak256(
                abi.encode(
                    picture, escrow.stateOf(id), escrow.tierOf(id), escrow.deadlineOf(id), charge, rejected, party, minted,
                    minted ? owner : bytes("")
                )
            );
            if (minted) picture = keccak256(abi.encode(picture, nft.resultOf(id)));
        }
        for (uint256 i = 0; i < ACTORS; ++i) {
            address who = vm.addr(REQUESTER + i);
            (uint256 stake, uint256 locked) = registry.stakeOf(who);
            uint256 credit = escrow.creditOf(who, NATIVE);
            picture = keccak256(abi.encode(picture, credit, escrow.creditOf(who, address(token)), stake, locked));
        }
    }

    function _terms(uint256 seed) private view returns (IJobEscrow.Terms memory terms) {
        terms.requester = vm.addr(REQUESTER);
        terms.payer = terms.requester;
        terms.oracle = vm.addr(ORACLE);
        terms.token = seed & 1 == 0 ? NATIVE : address(token);
        terms.budget = uint96(seed >> 8) | 1;
        terms.bond = uint96(seed >> 104) % 1e24;
        terms.acceptBy = uint32(block.timestamp + 1 days);
        terms.deliverBy = terms.acceptBy;
        terms.spec = bytes32(seed | 1);
        terms.sealTo = "key";
    }

    function _create(IJobEscrow.Terms memory terms) private returns (uint256) {
        vm.deal(terms.requester, terms.budget);
        vm.prank(terms.requester);
        return escrow.createJob{value: terms.token == NATIVE ? terms.budget : 0}(terms);
    }

    function _accept(uint256 id, IJobEscrow.Terms memory terms) private {
        vm.prank(terms.oracle);
        escrow.accept(id, terms);
    }

    function _stake(address oracle, uint256 amount) private {
        vm.deal(oracle, amount);
        vm.prank(oracle);
        registry.addStake{value: amount}();
    }

    function _disputed(IJobEscrow.Terms memory terms, uint96 charge, bool byOracle, bool rejected) private returns (uint256 id) {
        if (terms.bond != 0) _stake(terms.oracle, terms.bond);
        id = _create(terms);
        _accept(id, terms);
        vm.prank(terms.oracle);
        escrow.deliver(id, terms, charge, "result");
        if (rejected) {
            escrow.validate(id, terms, attest(VALIDATOR, id, terms, "result", false, IJobEscrow.Method.Canary));
        }
        address disputer = byOracle ? terms.oracle : terms.requester;
        vm.deal(disputer, terms.bond);
        vm.prank(disputer);
        escrow.dispute{value: terms.bond}(id, terms, "evidence");
    }

    function _owed(address who, address asset, uint256 amount) private view {
        require(escrow.creditOf(who, asset) == amount);
    }

    function _flip(bytes memory data, uint256 offset, uint256 bit) private pure {
        assembly ("memory-safe") {
            let place := add(add(data, 32), offset)
            mstore(place, or(mload(place), shl(bit, 1)))
        }
    }

    function _split(bytes memory signature) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
    }
}
