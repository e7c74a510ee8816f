// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {JobEscrow} from "../../../contracts/JobEscrow.sol";
import {SlotsHarness} from "../SlotsHarness.sol";

/// @dev Cheatcodes that both Foundry and halmos know.
interface ProofVm {
    function assume(bool condition) external pure;
    function load(address target, bytes32 slot) external view returns (bytes32);
    function prank(address sender) external;
    function store(address target, bytes32 slot, bytes32 value) external;
    function warp(uint256 timestamp) external;
}

ProofVm constant proofVm = ProofVm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// @dev For all inputs, by symbolic execution (halmos): what is packed is read back, and parts do not touch.
contract SlotsProofs {
    SlotsHarness private slots;

    function setUp() public {
        slots = new SlotsHarness();
    }

    function check_pack__is_read_back(bytes27 terms, uint8 state, uint8 tier, uint32 deadline) external view {
        proofVm.assume(state < 16 && tier < 7);
        (IJobEscrow.State s, IJobEscrow.Tier t) = (IJobEscrow.State(state), IJobEscrow.Tier(tier));

        bytes32 slot = slots.pack(terms, s, t, deadline);

        (bytes27 terms2, IJobEscrow.State s2, IJobEscrow.Tier t2, uint256 deadline2) = slots.read(slot);
        assert(terms2 == terms && s2 == s && t2 == t && deadline2 == deadline);
    }

    function check_pack__is_injective(
        bytes27 terms,
        uint8 state,
        uint8 tier,
        uint32 deadline,
        bytes27 terms2,
        uint8 state2,
        uint8 tier2,
        uint32 deadline2
    ) external view {
        proofVm.assume(state < 16 && tier < 7 && state2 < 16 && tier2 < 7);
        bytes32 one = slots.pack(terms, IJobEscrow.State(state), IJobEscrow.Tier(tier), deadline);
        bytes32 other = slots.pack(terms2, IJobEscrow.State(state2), IJobEscrow.Tier(tier2), deadline2);
        bool same = terms == terms2 && state == state2 && tier == tier2 && deadline == deadline2;
        assert((one == other) == same);
    }

    function check_moved__keeps_the_terms(bytes32 slot, uint8 state, uint8 tier, uint32 deadline) external view {
        proofVm.assume(state < 16 && tier < 7);

        bytes32 next = slots.moved(slot, IJobEscrow.State(state), IJobEscrow.Tier(tier), deadline);

        assert(bytes27(next) == bytes27(slot));
        assert(uint32(uint256(next)) == deadline);
        assert(uint256(next) >> 32 & 15 == state && uint256(next) >> 36 & 15 == tier);
    }
}

/// @dev For every content of a job's slot, every caller, second and argument: a call that succeeds made a documented
/// transition, was made by the right party in the right phase, and left the terms alone.
contract TransitionProofs {
    uint256 private constant JOB = 7;
    uint256 private constant SLOTS = 5; // position of the mapping of jobs' slots

    /// @dev Deadlines are 32-bit seconds, which last until February 2106; no period is longer than 120 days.
    uint256 private constant LAST = 2 ** 32 - 120 days;

    JobEscrow private escrow;

    function setUp() public {
        escrow = new JobEscrow();
    }

    struct Before {
        uint8 state;
        uint8 tier;
        uint32 deadline;
        uint32 time;
        address caller;
    }

    function check_cancel(Before calldata b, IJobEscrow.Terms calldata terms) external {
        if (!_call(b, terms, abi.encodeCall(escrow.cancel, (JOB, terms)))) return;
        assert(_from(b, IJobEscrow.State.Created) && b.caller == terms.requester);
        _ended(terms, IJobEscrow.State.Cancelled);
    }

    function check_reject(Before calldata b, IJobEscrow.Terms calldata terms, bytes32 reason) external {
        if (!_call(b, terms, abi.encodeCall(escrow.reject, (JOB, terms, reason)))) return;
        assert(_from(b, IJobEscrow.State.Created) && b.caller == terms.oracle);
        _ended(terms, IJobEscrow.State.Rejected);
    }

    function check_accept(Before calldata b, IJobEscrow.Terms calldata terms) external {
        proofVm.assume(terms.bond == 0); // the registry's part is proved by its own tests
        if (!_call(b, terms, abi.encodeCall(escrow.accept, (JOB, terms)))) return;
        assert(_from(b, IJobEscrow.State.Created) && b.time <= b.deadline);
        assert(b.caller == terms.oracle || terms.oracle == address(0));
        assert(_state() == IJobEscrow.State.Accepted && _deadline() == terms.deliverBy);
        if (terms.oracle != address(0)) assert(bytes27(_slot()) == _hash(terms));
    }

    function check_fail(Before calldata b, IJobEscrow.Terms calldata terms, bytes32 reason) external {
        proofVm.assume(terms.bond == 0);
        if (!_call(b, terms, abi.encodeCall(escrow.fail, (JOB, terms, reason)))) return;
        assert(_from(b, IJobEscrow.State.Accepted) || _from(b, IJobEscrow.State.Approved));
        assert(b.caller == terms.oracle && b.time <= b.deadline);
        _ended(terms, IJobEscrow.State.Failed);
    }

    function check_claimRefund(Before calldata b, IJobEscrow.Terms calldata terms) external {
        proofVm.assume(terms.bond == 0);
        if (!_call(b, terms, abi.encodeCall(escrow.claimRefund, (JOB, terms)))) return;
        assert(
            _from(b, IJobEscrow.State.Created) || _from(b, IJobEscrow.State.Accepted)
                || _from(b, IJobEscrow.State.Approved)
        );
        assert(b.time > b.deadline);
        _ended(terms, IJobEscrow.State.Expired);
    }

    /// @dev And it is never blocked: an expired job can be refunded by anybody.
    function check_claimRefund__is_never_blocked(Before calldata b, IJobEscrow.Terms calldata terms) external {
        proofVm.assume(terms.bond == 0 && b.time > b.deadline && b.tier < 7);
        proofVm.assume(b.state == 1 || b.state == 2 || b.state == 4);
        assert(_call(b, terms, abi.encodeCall(escrow.claimRefund, (JOB, terms))));
    }

    function check_promote(Before calldata b, IJobEscrow.Terms calldata terms, bytes32 evidence) external {
        if (!_call(b, terms, abi.encodeCall(escrow.promote, (JOB, terms, 0, evidence)))) return;
        assert(_from(b, IJobEscrow.State.Accepted) && b.caller == terms.requester);
        assert(uint256(b.time) + 1 hours <= b.deadline);
        assert(_state() == IJobEscrow.State.Approved && _deadline() == b.deadline);
        assert(bytes27(_slot()) == _hash(terms));
    }

    function check_dispute(Before calldata b, IJobEscrow.Terms calldata terms, bytes32 evidence) external {
        proofVm.assume(terms.bond == 0 && b.time < LAST);
        if (!_call(b, terms, abi.encodeCall(escrow.dispute, (JOB, terms, evidence)))) return;
        assert(_from(b, IJobEscrow.State.Completed) && b.time <= b.deadline && terms.arbiter != address(0));
        assert(b.caller == terms.requester || b.caller == terms.oracle);
        assert(_state() == IJobEscrow.State.Disputed && _deadline() == uint256(b.time) + 14 days);
        assert(bytes27(_slot()) == _hash(terms));
    }

    function check_settle(Before calldata b, IJobEscrow.Terms calldata terms) external {
        proofVm.assume(terms.bond == 0);
        if (!_call(b, terms, abi.encodeCall(escrow.settle, (JOB, terms)))) return;
        assert(_from(b, IJobEscrow.State.Completed) || _from(b, IJobEscrow.State.Disputed));
        assert(b.time > b.deadline);
        _ended(terms, IJobEscrow.State.Settled);
    }

    function check_rule(Before calldata b, IJobEscrow.Terms calldata terms, uint256 share) external {
        proofVm.assume(terms.bond == 0);
        if (!_call(b, terms, abi.encodeCall(escrow.rule, (JOB, terms, share)))) return;
        assert(_from(b, IJobEscrow.State.Disputed) && b.time <= b.deadline && b.caller == terms.arbiter);
        assert(share <= 10_000);
        _ended(terms, share == 0 ? IJobEscrow.State.Rejected : IJobEscrow.State.Settled);
    }

    function check_deliver(
        Before calldata b,
        IJobEscrow.Terms calldata terms,
        uint96 charge,
        bytes32 result
    ) external {
        proofVm.assume(terms.bond == 0 && terms.validatorFee < terms.budget && terms.requester != address(0));
        proofVm.assume(terms.challengePeriod <= 90 days && b.time < LAST);
        if (!_call(b, terms, abi.encodeCall(escrow.deliver, (JOB, terms, charge, result)))) return;
        assert(
            _from(b, IJobEscrow.State.Created) || _from(b, IJobEscrow.State.Accepted)
                || _from(b, IJobEscrow.State.Approved)
        );
        assert(b.caller == terms.oracle && b.time <= b.deadline && result != 0);
        assert(charge <= terms.budget - terms.validatorFee);
        if (terms.challengePeriod == 0) return _ended(terms, IJobEscrow.State.Settled);
        assert(_state() == IJobEscrow.State.Completed);
        assert(_deadline() == uint256(b.time) + terms.challengePeriod);
        assert(bytes27(_slot()) == _hash(terms));
    }

    // ------------------------------------------------------------------------------------------- parts

    /// @dev Puts the job into the slot as `b` says, and makes the call.
    function _call(Before calldata b, IJobEscrow.Terms calldata terms, bytes memory data) private returns (bool ok) {
        proofVm.assume(b.state < 16 && b.tier < 7);
        uint256 low = uint256(b.tier) << 36 | uint256(b.state) << 32 | b.deadline;
        proofVm.store(address(escrow), _place(), bytes32(_hash(terms)) | bytes32(low));
        proofVm.warp(b.time);
        proofVm.prank(b.caller);
        (ok,) = address(escrow).call(data);
    }

    function _ended(IJobEscrow.Terms calldata terms, IJobEscrow.State state) private view {
        assert(_state() == state && _deadline() == 0);
        assert(bytes27(_slot()) == _hash(terms));
    }

    function _from(Before calldata b, IJobEscrow.State state) private pure returns (bool) {
        return b.state == uint8(state);
    }

    function _slot() private view returns (bytes32) {
        return proofVm.load(address(escrow), _place());
    }

    function _state() private view returns (IJobEscrow.State) {
        return escrow.stateOf(JOB);
    }

    function _deadline() private view returns (uint256) {
        return escrow.deadlineOf(JOB);
    }

    function _place() private pure returns (bytes32) {
        return keccak256(abi.encode(JOB, SLOTS));
    }

    function _hash(IJobEscrow.Terms calldata terms) private pure returns (bytes27) {
        return bytes27(keccak256(abi.encode(terms)));
    }
}
