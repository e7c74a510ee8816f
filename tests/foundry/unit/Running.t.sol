// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {IOracleRegistry} from "../../../interfaces/IOracleRegistry.sol";
import {Bench} from "./Bench.sol";
import {EchoToken} from "./Mocks.sol";
import {vm} from "../Vm.sol";

/// @dev From creation up to, not including, delivery.
contract RunningTest is Bench {
    bytes32 private constant EVIDENCE = "evidence";

    // -------------------------------------------------------------------------------------------- cancel

    function test_cancel__by_the_requester__credits_the_payer() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        vm.warp(ACCEPT_BY + 1); // at any time
        _expect(address(escrow));
        emit IJobEscrow.JobStateChanged(id, IJobEscrow.State.Cancelled, requester, 0);

        _do(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)));

        _ended(id, IJobEscrow.State.Cancelled, IJobEscrow.Tier.Unverified);
        _owes(BUDGET, 0, 0);
        _owesBonds(0, 0, 0);
        require(escrow.matches(id, terms), "terms are kept");
    }

    function test_cancel__native__credits_in_the_native_currency() external {
        IJobEscrow.Terms memory terms = _own();
        uint256 id = _create(terms);
        _do(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)));
        _owesOf(NATIVE, requester, BUDGET);
    }

    function test_cancel__two_jobs__adds_up_the_credits() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        _create(terms);
        _do(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)));
        _do(requester, 0, abi.encodeCall(escrow.cancel, (id + 1, terms)));
        _owes(2 * uint256(BUDGET), 0, 0);
    }

    function test_cancel__by_another_or_with_other_terms_or_unknown__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        _refuse(sponsor, 0, abi.encodeCall(escrow.cancel, (id, terms)), _notAllowed(id, sponsor));
        _refuse(oracle, 0, abi.encodeCall(escrow.cancel, (id, terms)), _notAllowed(id, oracle));
        bytes memory none = _wrongState(id + 1, IJobEscrow.State.None);
        _refuse(requester, 0, abi.encodeCall(escrow.cancel, (id + 1, terms)), none);
        terms.budget += 1;
        _refuse(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)), _mismatch(id));
    }

    function test_cancel_accept_reject__after_acceptance_or_the_end__are_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _accepted(terms);
        _refuseFresh(id, terms, IJobEscrow.State.Accepted);
        _do(requester, 0, abi.encodeCall(escrow.promote, (id, terms, 0, "")));
        _refuseFresh(id, terms, IJobEscrow.State.Approved);
        _do(oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
        _refuseFresh(id, terms, IJobEscrow.State.Settled);
        id = _create(terms);
        _do(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)));
        _refuseFresh(id, terms, IJobEscrow.State.Cancelled);
    }

    // -------------------------------------------------------------------------------------------- accept

    function test_accept__by_the_oracle_in_the_last_second__locks_the_bond() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        vm.warp(ACCEPT_BY);
        _expect(address(escrow));
        emit IJobEscrow.JobStateChanged(id, IJobEscrow.State.Accepted, oracle, 0);
        _expect(address(registry));
        emit IOracleRegistry.BondLocked(oracle, BOND);

        _do(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)));

        _is(id, IJobEscrow.State.Accepted, IJobEscrow.Tier.Unverified, DELIVER_BY);
        _stakeIs(STAKE, BOND);
        _owes(0, 0, 0);
        require(escrow.matches(id, terms));
    }

    function test_accept__too_late_or_by_another__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        bytes memory data = abi.encodeCall(escrow.accept, (id, terms));
        _refuse(otherOracle, 0, data, _notAllowed(id, otherOracle));
        _refuse(requester, 0, data, _notAllowed(id, requester));
        vm.warp(ACCEPT_BY + 1);
        _refuse(oracle, 0, data, _tooLate(id, ACCEPT_BY));
        terms.bond -= 1;
        _refuse(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)), _mismatch(id));
    }

    function test_accept__open_job__makes_the_caller_its_oracle() external {
        IJobEscrow.Terms memory terms = _open();
        uint256 id = _create(terms);
        _do(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)));

        require(!escrow.matches(id, terms), "no longer open");
        terms.oracle = oracle;
        require(escrow.matches(id, terms), "has an oracle");
        _stakeIs(STAKE, BOND);
        _refuse(otherOracle, 0, abi.encodeCall(escrow.accept, (id, _open())), _mismatch(id));
        terms.oracle = otherOracle;
        _refuse(otherOracle, 0, abi.encodeCall(escrow.fail, (id, terms, WHY)), _mismatch(id));
    }

    function test_accept__open_job_by_its_judges__is_refused() external {
        IJobEscrow.Terms memory terms = _full();
        terms.oracle = address(0);
        uint256 id = _create(terms);
        bytes memory data = abi.encodeCall(escrow.accept, (id, terms));
        _refuse(validator, 0, data, _notAllowed(id, validator));
        _refuse(arbiter, 0, data, _notAllowed(id, arbiter));
        _do(otherOracle, 0, data);
    }

    function test_accept__too_little_stake__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        terms.bond = uint96(STAKE + 1);
        uint256 id = _create(terms);
        bytes memory poor =
            abi.encodeWithSelector(IOracleRegistry.InsufficientStake.selector, oracle, STAKE, STAKE + 1);
        _refuse(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)), poor);
        _is(id, IJobEscrow.State.Created, IJobEscrow.Tier.Unverified, ACCEPT_BY);
    }

    function test_accept__no_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _unbonded(_terms());
        uint256 id = _create(terms);
        _doWithoutBond(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)));
        terms.bond = 1;
        id = _accepted(terms);
        _stakeIs(STAKE, 1);
    }

    // -------------------------------------------------------------------------------------- reject, fail

    function test_reject__by_the_oracle__credits_the_payer() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        vm.warp(ACCEPT_BY + 1);
        _expect(address(escrow));
        emit IJobEscrow.JobStateChanged(id, IJobEscrow.State.Rejected, oracle, WHY);

        _do(oracle, 0, abi.encodeCall(escrow.reject, (id, terms, WHY)));

        _ended(id, IJobEscrow.State.Rejected, IJobEscrow.Tier.Unverified);
        _owes(BUDGET, 0, 0);
        _stakeIs(STAKE, 0);
    }

    function test_reject__by_another_or_of_an_open_job__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        _refuse(requester, 0, abi.encodeCall(escrow.reject, (id, terms, WHY)), _notAllowed(id, requester));
        terms = _open();
        id = _create(terms);
        _refuse(oracle, 0, abi.encodeCall(escrow.reject, (id, terms, WHY)), _notAllowed(id, oracle));
    }

    function test_fail__accepted_in_the_last_second__credits_the_payer_and_frees_the_bond() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _accepted(terms);
        vm.warp(DELIVER_BY);
        _expect(address(escrow));
        emit IJobEscrow.JobStateChanged(id, IJobEscrow.State.Failed, oracle, WHY);
        _expect(address(registry));
        emit IOracleRegistry.BondReleased(oracle, BOND);

        _do(oracle, 0, abi.encodeCall(escrow.fail, (id, terms, WHY)));

        _ended(id, IJobEscrow.State.Failed, IJobEscrow.Tier.Unverified);
        _owes(BUDGET, 0, 0);
        _owesBonds(0, 0, 0);
        _stakeIs(STAKE, 0);
    }

    function test_fail__promoted__credits_the_payer_and_frees_the_bond() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _approved(terms);
        _do(oracle, 0, abi.encodeCall(escrow.fail, (id, terms, WHY)));
        _ended(id, IJobEscrow.State.Failed, IJobEscrow.Tier.Unverified);
        _owes(BUDGET, 0, 0);
        _stakeIs(STAKE, 0);
    }

    function test_fail__no_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _unbonded(_terms());
        uint256 id = _accepted(terms);
        _doWithoutBond(oracle, 0, abi.encodeCall(escrow.fail, (id, terms, WHY)));
    }

    function test_fail__too_late_or_by_another_or_in_another_state__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        bytes memory data = abi.encodeCall(escrow.fail, (id, terms, WHY));
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Created));
        _do(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)));
        _refuse(requester, 0, data, _notAllowed(id, requester));
        vm.warp(DELIVER_BY + 1);
        _refuse(oracle, 0, data, _tooLate(id, DELIVER_BY));
        vm.warp(DELIVER_BY);
        _do(oracle, 0, data);
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Failed));
        terms.spec = "other";
        _refuse(oracle, 0, abi.encodeCall(escrow.fail, (id, terms, WHY)), _mismatch(id));
    }

    // --------------------------------------------------------------------------------------- claimRefund

    function test_claimRefund__created__only_after_acceptBy() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _create(terms);
        bytes memory data = abi.encodeCall(escrow.claimRefund, (id, terms));
        vm.warp(ACCEPT_BY);
        _refuse(stranger, 0, data, _tooEarly(id, ACCEPT_BY));
        vm.warp(ACCEPT_BY + 1);
        _expect(address(escrow));
        emit IJobEscrow.JobStateChanged(id, IJobEscrow.State.Expired, stranger, 0);

        _do(stranger, 0, data);

        _ended(id, IJobEscrow.State.Expired, IJobEscrow.Tier.Unverified);
        _owes(BUDGET, 0, 0);
        _owesBonds(0, 0, 0);
        _stakeIs(STAKE, 0);
        _refuse(stranger, 0, data, _wrongState(id, IJobEscrow.State.Expired));
    }

    function test_claimRefund__accepted__only_after_deliverBy_and_slashes() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _accepted(terms);
        _refundsWithBond(id, terms);
    }

    function test_claimRefund__promoted__only_after_deliverBy_and_slashes() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _approved(terms);
        _refundsWithBond(id, terms);
    }

    function test_claimRefund__accepted_without_bond__leaves_the_registry_alone() external {
        IJobEscrow.Terms memory terms = _unbonded(_terms());
        uint256 id = _accepted(terms);
        vm.warp(DELIVER_BY + 1);
        _doWithoutBond(stranger, 0, abi.encodeCall(escrow.claimRefund, (id, terms)));
        _owesBonds(0, 0, 0);
    }

    function test_claimRefund__delivered_or_unknown_or_other_terms__is_refused() external {
        IJobEscrow.Terms memory terms = _arbitrated();
        uint256 id = _delivered(terms);
        vm.warp(DELIVER_BY + 1);
        bytes memory data = abi.encodeCall(escrow.claimRefund, (id, terms));
        _refuse(stranger, 0, data, _wrongState(id, IJobEscrow.State.Completed));
        bytes memory none = _wrongState(0, IJobEscrow.State.None);
        _refuse(stranger, 0, abi.encodeCall(escrow.claimRefund, (0, terms)), none);
        terms.payer = stranger;
        _refuse(stranger, 0, abi.encodeCall(escrow.claimRefund, (id, terms)), _mismatch(id));
    }

    // ------------------------------------------------------------------------------------------- promote

    function test_promote__with_more_money__raises_the_budget() external {
        IJobEscrow.Terms memory terms = _own();
        uint256 id = _accepted(terms);
        vm.warp(DELIVER_BY - 3_600);
        _expect(address(escrow));
        emit IJobEscrow.JobPromoted(id, requester, BUDGET + EXTRA, EVIDENCE);

        _do(requester, EXTRA, abi.encodeCall(escrow.promote, (id, terms, EXTRA, EVIDENCE)));

        _is(id, IJobEscrow.State.Approved, IJobEscrow.Tier.Unverified, DELIVER_BY);
        require(!escrow.matches(id, terms) && address(escrow).balance == BUDGET + EXTRA);
        terms.budget = BUDGET + EXTRA;
        require(escrow.matches(id, terms));
        _stakeIs(STAKE, BOND);
    }

    function test_promote__in_a_token__takes_the_extra() external {
        IJobEscrow.Terms memory terms = _own();
        terms.token = address(token);
        uint256 id = _accepted(terms);
        _refuse(requester, 1, abi.encodeCall(escrow.promote, (id, terms, EXTRA, "")), _wrongValue(1, 0));
        _do(requester, 0, abi.encodeCall(escrow.promote, (id, terms, EXTRA, "")));
        require(token.balanceOf(address(escrow)) == BUDGET + EXTRA);
    }

    function test_promote__sponsored_job__without_more_money_only() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 id = _accepted(terms);
        _refuse(requester, 0, abi.encodeCall(escrow.promote, (id, terms, 1, "")), _invalid("payer"));
        _expect(address(escrow));
        emit IJobEscrow.JobPromoted(id, requester, BUDGET, EVIDENCE);
        _do(requester, 0, abi.encodeCall(escrow.promote, (id, terms, 0, EVIDENCE)));
        _is(id, IJobEscrow.State.Approved, IJobEscrow.Tier.Unverified, DELIVER_BY);
        require(escrow.matches(id, terms));
    }

    function test_promote__wrong_value_or_caller_or_time__is_refused() external {
        IJobEscrow.Terms memory terms = _own();
        uint256 id = _accepted(terms);
        bytes memory data = abi.encodeCall(escrow.promote, (id, terms, EXTRA, ""));
        _refuse(requester, EXTRA - 1, data, _wrongValue(EXTRA - 1, EXTRA));
        _refuse(requester, EXTRA + 1, data, _wrongValue(EXTRA + 1, EXTRA));
        _refuse(oracle, EXTRA, data, _notAllowed(id, oracle));
        vm.warp(DELIVER_BY - 3_599);
        _refuse(requester, EXTRA, data, _tooLate(id, DELIVER_BY - 3_600));
    }

    function test_promote__not_accepted_or_twice_or_other_terms__is_refused() external {
        IJobEscrow.Terms memory terms = _own();
        uint256 id = _create(terms);
        bytes memory data = abi.encodeCall(escrow.promote, (id, terms, 0, ""));
        _refuse(requester, 0, data, _wrongState(id, IJobEscrow.State.Created));
        _do(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)));
        _do(requester, 0, data);
        _refuse(requester, 0, data, _wrongState(id, IJobEscrow.State.Approved));
        terms.budget += 1;
        _refuse(requester, 0, abi.encodeCall(escrow.promote, (id, terms, 0, "")), _mismatch(id));
    }

    function test_promote__budget_past_its_type__panics() external {
        IJobEscrow.Terms memory terms = _own();
        terms.budget = type(uint96).max - 1;
        uint256 id = _accepted(terms);
        _refuse(requester, 2, abi.encodeCall(escrow.promote, (id, terms, 2, "")), _panic(0x11));
        _do(requester, 1, abi.encodeCall(escrow.promote, (id, terms, 1, "")));
    }

    function test_promote__token_that_calls_back__finds_the_job_promoted() external {
        IJobEscrow.Terms memory terms = _own();
        EchoToken echo = new EchoToken();
        echo.mint(requester, BUDGET + EXTRA);
        terms.token = address(echo);
        uint256 id = _accepted(terms);
        echo.callOnTransfer(address(escrow), abi.encodeCall(escrow.promote, (id, terms, 0, "")));
        _do(requester, 0, abi.encodeCall(escrow.promote, (id, terms, EXTRA, "")));
        require(echo.answered() && keccak256(echo.answer()) == keccak256(_mismatch(id)));
    }

    // -------------------------------------------------------------------------------------------- report

    function test_report__several__are_published_and_nothing_else() external {
        uint256[] memory ids = new uint256[](5);
        IJobEscrow.State[] memory states = new IJobEscrow.State[](5);
        bytes32[] memory evidence = new bytes32[](5);
        IJobEscrow.Terms memory terms = _terms();
        (ids[0], ids[1], ids[2]) = (_create(terms), _accepted(terms), _approved(terms));
        (ids[3], ids[4]) = (ids[0], ids[1]);
        for (uint8 i = 0; i < 5; ++i) (states[i], evidence[i]) = (IJobEscrow.State(3 + i), bytes32(uint256(i)));
        for (uint256 i = 0; i < 5; ++i) {
            _expect(address(escrow));
            emit IJobEscrow.JobStateChanged(ids[i], states[i], oracle, evidence[i]);
        }

        _do(oracle, 0, abi.encodeCall(escrow.report, (ids, states, evidence)));

        _is(ids[0], IJobEscrow.State.Created, IJobEscrow.Tier.Unverified, ACCEPT_BY);
        _is(ids[1], IJobEscrow.State.Accepted, IJobEscrow.Tier.Unverified, DELIVER_BY);
    }

    function test_report__a_state_that_is_no_progress__is_refused() external {
        uint256 id = _create(_terms());
        for (uint8 i = 0; i < 16; ++i) {
            IJobEscrow.State state = IJobEscrow.State(i);
            if (i >= 3 && i <= 7) _do(oracle, 0, _report(id, state));
            else _refuse(oracle, 0, _report(id, state), _wrongState(id, state));
        }
    }

    function test_report__a_job_not_running__is_refused() external {
        bytes memory data = _report(1, IJobEscrow.State.Running);
        _refuse(oracle, 0, data, _wrongState(1, IJobEscrow.State.None));
        uint256 id = _delivered(_terms());
        data = _report(id, IJobEscrow.State.Running);
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Settled));
        id = _delivered(_arbitrated());
        data = _report(id, IJobEscrow.State.Running);
        _refuse(oracle, 0, data, _wrongState(id, IJobEscrow.State.Completed));
    }

    function test_report__lists_of_different_length__are_refused() external {
        bytes memory unequal = abi.encodeWithSelector(IJobEscrow.LengthMismatch.selector);
        uint256 id = _create(_terms());
        uint256[] memory ids = new uint256[](1);
        ids[0] = id;
        IJobEscrow.State[] memory states = new IJobEscrow.State[](1);
        states[0] = IJobEscrow.State.Running;
        bytes32[] memory evidence = new bytes32[](1);
        _refuse(oracle, 0, abi.encodeCall(escrow.report, (ids, states, new bytes32[](2))), unequal);
        _refuse(oracle, 0, abi.encodeCall(escrow.report, (ids, new IJobEscrow.State[](2), evidence)), unequal);
        _refuse(oracle, 0, abi.encodeCall(escrow.report, (new uint256[](0), states, evidence)), unequal);
    }

    // -------------------------------------------------------------------------------------------- parts

    function _refundsWithBond(uint256 id, IJobEscrow.Terms memory terms) private {
        bytes memory data = abi.encodeCall(escrow.claimRefund, (id, terms));
        vm.warp(DELIVER_BY);
        _refuse(stranger, 0, data, _tooEarly(id, DELIVER_BY));
        vm.warp(DELIVER_BY + 1);
        _expect(address(escrow));
        emit IJobEscrow.JobStateChanged(id, IJobEscrow.State.Expired, stranger, 0);
        _expect(address(registry));
        emit IOracleRegistry.BondSlashed(oracle, BOND);

        _do(stranger, 0, data);

        _ended(id, IJobEscrow.State.Expired, IJobEscrow.Tier.Unverified);
        _owes(BUDGET, 0, 0);
        _owesBonds(BOND, 0, 0);
        _stakeIs(STAKE - BOND, 0);
    }

    function _refuseFresh(uint256 id, IJobEscrow.Terms memory terms, IJobEscrow.State state) private {
        bytes memory wrong = _wrongState(id, state);
        _refuse(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)), wrong);
        _refuse(oracle, 0, abi.encodeCall(escrow.accept, (id, terms)), wrong);
        _refuse(oracle, 0, abi.encodeCall(escrow.reject, (id, terms, WHY)), wrong);
    }

    function _report(uint256 id, IJobEscrow.State state) private view returns (bytes memory) {
        uint256[] memory ids = new uint256[](1);
        IJobEscrow.State[] memory states = new IJobEscrow.State[](1);
        (ids[0], states[0]) = (id, state);
        return abi.encodeCall(escrow.report, (ids, states, new bytes32[](1)));
    }
}
