// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {Bench} from "../unit/Bench.sol";
import {vm} from "../Vm.sol";

/// @dev The money table of docs/contracts.md for any amounts. Every ending credits what was locked, to the wei: the
/// budget in the job's token, the bonds in the native currency.
contract SplitsFuzzTest is Bench {
    struct Money {
        uint96 budget;
        uint96 fee;
        uint96 charge;
        uint96 bond;
        bool taken; // the oracle accepted, and has the bond staked and nothing else
    }

    function testFuzz_deliver__trusted_oracle__pays_the_charge(Money memory m) external {
        IJobEscrow.Terms memory terms = _with(_terms(), m, false);
        uint256 id = _acceptedWithStake(terms);
        _deliver(id, terms, m.charge);
        _endsWith(m, uint256(m.budget) - m.charge, m.charge, 0, 0);
    }

    function testFuzz_deliverAttested__any_amounts__pays_charge_and_fee(Money memory m) external {
        IJobEscrow.Terms memory terms = _with(_full(), m, true);
        uint256 id = _acceptedWithStake(terms);
        bytes memory data = abi.encodeCall(escrow.deliverAttested, (id, terms, m.charge, RESULT, _good(id, terms)));
        _do(oracle, 0, data);
        _endsWith(m, uint256(m.budget) - m.charge - m.fee, m.charge, m.fee, 0);
    }

    function testFuzz_validate__accepting__pays_charge_and_fee(Money memory m) external {
        IJobEscrow.Terms memory terms = _with(_judged(), m, true);
        uint256 id = _acceptedWithStake(terms);
        _deliver(id, terms, m.charge);
        _do(stranger, 0, abi.encodeCall(escrow.validate, (id, terms, _good(id, terms))));
        _endsWith(m, uint256(m.budget) - m.charge - m.fee, m.charge, m.fee, 0);
    }

    function testFuzz_validate__rejecting__refunds_and_slashes(Money memory m) external {
        IJobEscrow.Terms memory terms = _with(_judged(), m, true);
        uint256 id = _acceptedWithStake(terms);
        _deliver(id, terms, m.charge);
        _do(stranger, 0, abi.encodeCall(escrow.validate, (id, terms, _bad(id, terms))));
        _endsWith(m, uint256(m.budget) - m.fee, 0, m.fee, m.bond);
    }

    /// @dev Silence, with or without a rejection before and a dispute that no arbiter ruled on.
    function testFuzz_settle__after_silence__is_as_if_undisputed(Money memory m, bool rejected, uint8 disputer) external {
        IJobEscrow.Terms memory terms = _with(_full(), m, true);
        uint256 id = _acceptedWithStake(terms);
        _deliver(id, terms, m.charge);
        if (rejected) _do(stranger, 0, abi.encodeCall(escrow.validate, (id, terms, _bad(id, terms))));
        bool disputed = disputer % 3 != 0;
        address by = disputer % 3 == 1 ? requester : oracle;
        if (disputed) _dispute(id, terms, by);
        vm.warp(NOW + RULING + 1);

        _do(stranger, 0, abi.encodeCall(escrow.settle, (id, terms)));

        if (disputed) {
            // The disputer has its bond back; then nothing of it must be left.
            _owesOf(NATIVE, by, m.bond);
            if (m.bond != 0) _do(by, 0, abi.encodeCall(escrow.withdraw, (NATIVE, by)));
        }
        if (rejected) _endsWith(m, uint256(m.budget) - m.fee, 0, m.fee, m.bond);
        else _endsWith(m, uint256(m.budget) - m.charge, m.charge, 0, 0);
    }

    /// @dev Everything that ends a job before its delivery gives the whole budget back.
    function testFuzz_refunds__any_way__give_the_whole_budget_back(Money memory m, uint8 way) external {
        IJobEscrow.Terms memory terms = _with(_full(), m, true);
        bool taken = way % 5 > 2;
        uint256 id = taken ? _acceptedWithStake(terms) : _create(terms);
        if (way % 5 == 0) _do(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)));
        if (way % 5 == 1) _do(oracle, 0, abi.encodeCall(escrow.reject, (id, terms, WHY)));
        if (way % 5 == 3) _do(oracle, 0, abi.encodeCall(escrow.fail, (id, terms, WHY)));
        if (way % 5 == 2 || way % 5 == 4) {
            vm.warp(DELIVER_BY + 1);
            _do(stranger, 0, abi.encodeCall(escrow.claimRefund, (id, terms)));
        }
        m.taken = taken;
        _endsWith(m, m.budget, 0, 0, way % 5 == 4 ? m.bond : 0);
    }

    /// @dev A job in any state, any call by anybody at any time: one that the table does not have is refused and
    /// changes nothing. The table here is written down anew, one bit a call.
    function testFuzz_calls__not_in_the_table__are_refused(
        uint8 state,
        uint8 call_,
        uint8 who,
        uint32 later
    ) external {
        later = _near(later);
        IJobEscrow.Terms memory terms = _full();
        uint256 id = _inState(state % 10, terms);
        address caller = vm.addr(REQUESTER + who % ACTORS);
        vm.warp(NOW + later);
        bytes memory data = _calls(id, terms)[call_ % 9];
        bytes32 before = _picture(id, terms);
        bool allowed = _allows(state % 10, call_ % 9, caller, NOW + later);

        (bool ok,) = _make(address(escrow), caller, call_ % 9 == 6 ? BOND : 0, data);

        require(ok == allowed, "the table says otherwise");
        require((_picture(id, terms) == before) == !ok, "changed if and only if allowed");
    }

    // -------------------------------------------------------------------------------------------- parts

    function _with(
        IJobEscrow.Terms memory terms,
        Money memory m,
        bool judged
    ) private pure returns (IJobEscrow.Terms memory) {
        m.budget = m.budget == 0 ? 1 : m.budget;
        m.fee = judged ? m.fee % m.budget : 0;
        m.charge = uint96(uint256(m.charge) % (uint256(m.budget) - m.fee + 1));
        m.taken = true;
        (terms.budget, terms.validatorFee, terms.bond) = (m.budget, m.fee, m.bond);
        return terms;
    }

    /// @dev Its stake is the bond and nothing else.
    function _acceptedWithStake(IJobEscrow.Terms memory terms) private returns (uint256 id) {
        vm.prank(oracle);
        registry.requestUnstake(STAKE);
        if (terms.bond != 0) {
            vm.deal(oracle, terms.bond);
            vm.prank(oracle);
            registry.addStake{value: terms.bond}();
        }
        return _accepted(terms);
    }

    function _deliver(uint256 id, IJobEscrow.Terms memory terms, uint96 charge) private {
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, charge, RESULT)));
    }

    function _endsWith(
        Money memory m,
        uint256 toPayer,
        uint256 toOracle,
        uint256 toValidator,
        uint256 slashed
    ) private view {
        require(toPayer + toOracle + toValidator == m.budget, "the test itself splits wrongly");
        _owes(toPayer, toOracle, toValidator);
        require(token.balanceOf(address(escrow)) == m.budget, "tokens");
        _owesOf(NATIVE, sponsor, slashed);
        require(address(escrow).balance == slashed, "bonds");
        (uint256 stake, uint256 locked) = registry.stakeOf(oracle);
        require(locked == 0 && stake == (m.taken ? uint256(m.bond) - slashed : STAKE), "stake");
    }

    /// @dev 0 Created, 1 Accepted, 2 Approved, 3 Completed, 4 Completed and rejected, 5 Disputed, 6 to 9 endings.
    function _inState(uint8 state, IJobEscrow.Terms memory terms) private returns (uint256 id) {
        if (state == 1) return _accepted(terms);
        if (state == 2) return _approved(terms);
        if (state == 3) return _delivered(terms);
        if (state == 4) return _refusedBy(terms, IJobEscrow.Method.Canary);
        if (state == 5) return _disputed(terms, oracle);
        id = _create(terms);
        if (state == 6) _do(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)));
        if (state == 7) _do(oracle, 0, abi.encodeCall(escrow.reject, (id, terms, WHY)));
        if (state == 8) {
            bytes memory data =
                abi.encodeCall(escrow.deliverAttested, (id, terms, CHARGE, RESULT, _good(id, terms)));
            _do(oracle, 0, data);
        }
        if (state == 9) {
            _do(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)));
            _do(oracle, 0, abi.encodeCall(escrow.fail, (id, terms, WHY)));
        }
    }

    function _calls(uint256 id, IJobEscrow.Terms memory terms) private view returns (bytes[9] memory calls) {
        calls[0] = abi.encodeCall(escrow.cancel, (id, terms));
        calls[1] = abi.encodeCall(escrow.accept, (id, terms));
        calls[2] = abi.encodeCall(escrow.reject, (id, terms, WHY));
        calls[3] = abi.encodeCall(escrow.fail, (id, terms, WHY));
        calls[4] = abi.encodeCall(escrow.claimRefund, (id, terms));
        calls[5] = abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT));
        calls[6] = abi.encodeCall(escrow.dispute, (id, terms, WHY));
        calls[7] = abi.encodeCall(escrow.rule, (id, terms, 5_000));
        calls[8] = abi.encodeCall(escrow.settle, (id, terms));
    }

    /// @dev Who may make the call, in which of the states above (one bit each), and until or after when.
    function _allows(uint256 state, uint256 call_, address caller, uint256 time) private view returns (bool) {
        address[9] memory callers =
            [requester, oracle, oracle, oracle, address(0), oracle, address(0), arbiter, address(0)];
        uint16[9] memory states = [uint16(0x001), 0x001, 0x001, 0x006, 0x007, 0x007, 0x018, 0x020, 0x038];
        if ((states[call_] >> state) & 1 == 0) return false;
        if (call_ == 6 ? caller != requester && caller != oracle : callers[call_] != address(0) && caller != callers[call_]) {
            return false;
        }
        if (call_ == 0 || call_ == 2) return true; // at any time
        uint256 deadline = state == 0 ? ACCEPT_BY : state < 3 ? DELIVER_BY : state < 5 ? NOW + CHALLENGE : NOW + RULING;
        return (call_ == 4 || call_ == 8) ? time > deadline : time <= deadline;
    }

    /// @dev Half of the time around a deadline, to the second.
    function _near(uint32 seed) private pure returns (uint32) {
        uint32[4] memory marks = [ACCEPT_BY - NOW, DELIVER_BY - NOW, CHALLENGE, RULING];
        return seed & 1 == 0 ? (seed >> 1) % 20 days : marks[(seed >> 1) % 4] + (seed >> 3) % 2;
    }

    function _picture(uint256 id, IJobEscrow.Terms memory terms) private view returns (bytes32) {
        (uint96 charge, bool rejected, IJobEscrow.Party by) = escrow.deliveryOf(id);
        (uint256 stake, uint256 locked) = registry.stakeOf(oracle);
        bytes memory job = abi.encode(escrow.stateOf(id), escrow.tierOf(id), escrow.deadlineOf(id), charge, rejected, by);
        return keccak256(abi.encode(job, stake, locked, escrow.matches(id, terms), escrow.creditOf(sponsor, address(token))));
    }
}
