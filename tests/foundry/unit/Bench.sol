// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {Log, benchVm} from "./BenchVm.sol";
import {World} from "../World.sol";
import {vm} from "../Vm.sol";

/// @dev Jobs in every state, refusals compared to the last byte, and what is owed. The usual job is sponsored and paid
/// in a token, so that requester and payer, and budget and bond, cannot be taken for each other. Amounts are odd.
abstract contract Bench is World {
    uint96 internal constant BUDGET = 1_000_003;
    uint96 internal constant CHARGE = 400_001;
    uint96 internal constant FEE = 50_001;
    uint96 internal constant BOND = 70_003;
    uint96 internal constant EXTRA = 30_007;
    uint256 internal constant STAKE = 900_001;
    uint32 internal constant CHALLENGE = 500;
    /// @dev When every test begins. The optimiser takes `block.timestamp` to be the same before and after a warp.
    uint32 internal constant NOW = 1_700_000_000;
    uint32 internal constant ACCEPT_BY = NOW + 1_000;
    uint32 internal constant DELIVER_BY = ACCEPT_BY + 4 hours;
    uint32 internal constant RULING = 14 days;
    bytes32 internal constant RESULT = "result";
    bytes32 internal constant WHY = "why";

    address internal requester = vm.addr(REQUESTER);
    address internal sponsor = vm.addr(SPONSOR);
    address internal oracle = vm.addr(ORACLE);
    address internal otherOracle = vm.addr(OTHER_ORACLE);
    address internal validator = vm.addr(VALIDATOR);
    address internal arbiter = vm.addr(ARBITER);
    address internal stranger = vm.addr(STRANGER);

    constructor() {
        address[2] memory oracles = [oracle, otherOracle];
        for (uint256 i = 0; i < 2; ++i) {
            vm.deal(oracles[i], STAKE);
            vm.prank(oracles[i]);
            registry.addStake{value: STAKE}();
        }
    }

    // ---------------------------------------------------------------------------------------------- terms

    function _terms() internal view returns (IJobEscrow.Terms memory terms) {
        terms.requester = requester;
        terms.payer = sponsor;
        terms.oracle = oracle;
        terms.token = address(token);
        terms.budget = BUDGET;
        terms.bond = BOND;
        terms.acceptBy = ACCEPT_BY;
        terms.deliverBy = DELIVER_BY;
        terms.spec = "spec";
        terms.sealTo = "key";
    }

    /// @dev Paid by the requester, in the native currency.
    function _own() internal view returns (IJobEscrow.Terms memory terms) {
        terms = _terms();
        (terms.payer, terms.token) = (requester, NATIVE);
    }

    function _open() internal view returns (IJobEscrow.Terms memory terms) {
        terms = _terms();
        terms.oracle = address(0);
    }

    function _judged() internal view returns (IJobEscrow.Terms memory terms) {
        terms = _terms();
        (terms.validator, terms.validatorFee, terms.challengePeriod) = (validator, FEE, CHALLENGE);
    }

    function _arbitrated() internal view returns (IJobEscrow.Terms memory terms) {
        terms = _terms();
        (terms.arbiter, terms.challengePeriod) = (arbiter, CHALLENGE);
    }

    function _full() internal view returns (IJobEscrow.Terms memory terms) {
        terms = _judged();
        terms.arbiter = arbiter;
    }

    function _unbonded(IJobEscrow.Terms memory terms) internal pure returns (IJobEscrow.Terms memory) {
        terms.bond = 0;
        return terms;
    }

    // --------------------------------------------------------------------------------------- jobs by state

    function _create(IJobEscrow.Terms memory terms) internal returns (uint256) {
        uint256 value = terms.token == NATIVE ? terms.budget : 0;
        bytes memory data = terms.payer == terms.requester
            ? abi.encodeCall(escrow.createJob, (terms))
            : abi.encodeCall(escrow.createJobFor, (terms, _nonce(), _order(REQUESTER, terms, _nonce())));
        return abi.decode(_do(terms.payer, value, data), (uint256));
    }

    function _accepted(IJobEscrow.Terms memory terms) internal returns (uint256 id) {
        id = _create(terms);
        _do(terms.oracle, 0, abi.encodeCall(escrow.accept, (id, terms)));
    }

    /// @dev Promoted without more money; the terms stay.
    function _approved(IJobEscrow.Terms memory terms) internal returns (uint256 id) {
        id = _accepted(terms);
        _do(terms.requester, 0, abi.encodeCall(escrow.promote, (id, terms, 0, "")));
    }

    function _delivered(IJobEscrow.Terms memory terms) internal returns (uint256 id) {
        id = _accepted(terms);
        _do(terms.oracle, 0, abi.encodeCall(escrow.deliver, (id, terms, CHARGE, RESULT)));
    }

    /// @dev With a rejecting verdict; final unless the terms name an arbiter.
    function _refusedBy(IJobEscrow.Terms memory terms, IJobEscrow.Method method) internal returns (uint256 id) {
        id = _delivered(terms);
        _do(stranger, 0, abi.encodeCall(escrow.validate, (id, terms, _verdict(id, terms, false, method))));
    }

    function _disputed(IJobEscrow.Terms memory terms, address by) internal returns (uint256 id) {
        id = _delivered(terms);
        _dispute(id, terms, by);
    }

    function _dispute(uint256 id, IJobEscrow.Terms memory terms, address by) internal {
        _do(by, terms.bond, abi.encodeCall(escrow.dispute, (id, terms, "")));
    }

    // ------------------------------------------------------------------------------------------ signatures

    function _verdict(
        uint256 id,
        IJobEscrow.Terms memory terms,
        bool accepted,
        IJobEscrow.Method method
    ) internal view returns (IJobEscrow.Attestation memory) {
        return attest(VALIDATOR, id, terms, RESULT, accepted, method);
    }

    function _good(uint256 id, IJobEscrow.Terms memory terms) internal view returns (IJobEscrow.Attestation memory) {
        return _verdict(id, terms, true, IJobEscrow.Method.Replayed);
    }

    function _bad(uint256 id, IJobEscrow.Terms memory terms) internal view returns (IJobEscrow.Attestation memory) {
        return _verdict(id, terms, false, IJobEscrow.Method.Canary);
    }

    /// @dev A requester's signed order, hashed from the documentation.
    function _order(uint256 key, IJobEscrow.Terms memory terms, uint256 nonce) internal view returns (bytes memory) {
        bytes memory fields =
            "Terms(address requester,address payer,address oracle,address validator,address arbiter,address token,uint96 budget,uint96 validatorFee,uint96 bond,uint32 acceptBy,uint32 deliverBy,uint32 challengePeriod,bytes32 spec,bytes32 sealTo)";
        bytes32 order = keccak256(abi.encodePacked("CreateJob(Terms terms,uint256 nonce)", fields));
        bytes32 inner = keccak256(abi.encode(keccak256(fields), terms));
        return signed(key, keccak256(abi.encode(order, inner, nonce)));
    }

    function _nonce() internal view returns (uint256) {
        return escrow.nonces(requester);
    }

    // ----------------------------------------------------------------------------------- calls and refusals

    function _do(address caller, uint256 value, bytes memory data) internal returns (bytes memory) {
        (bool ok, bytes memory answer) = _make(address(escrow), caller, value, data);
        if (ok) return answer;
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }

    function _refuse(address caller, uint256 value, bytes memory data, bytes memory expected) internal {
        _refuseAt(address(escrow), caller, value, data, expected);
    }

    function _refuseAt(
        address target,
        address caller,
        uint256 value,
        bytes memory data,
        bytes memory expected
    ) internal {
        (bool ok, bytes memory answer) = _make(target, caller, value, data);
        require(!ok, "was not refused");
        require(keccak256(answer) == keccak256(expected), "refused for another reason");
    }

    function _make(
        address target,
        address caller,
        uint256 value,
        bytes memory data
    ) internal returns (bool, bytes memory) {
        vm.deal(caller, value);
        vm.prank(caller);
        return target.call{value: value}(data);
    }

    function _expect(address emitter) internal {
        benchVm.expectEmit(emitter);
    }

    /// @dev Makes the call and fails if the registry has anything to say about it. Returns how many events there were.
    function _doWithoutBond(address caller, uint256 value, bytes memory data) internal returns (uint256) {
        benchVm.recordLogs();
        _do(caller, value, data);
        Log[] memory logs = benchVm.getRecordedLogs();
        require(logs.length != 0, "nothing happened");
        for (uint256 i = 0; i < logs.length; ++i) require(logs[i].emitter != address(registry), "registry was called");
        return logs.length;
    }

    // --------------------------------------------------------------------------------------------- errors

    function _notAllowed(uint256 id, address who) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.NotAllowed.selector, id, who);
    }

    function _wrongState(uint256 id, IJobEscrow.State state) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.WrongState.selector, id, state);
    }

    function _mismatch(uint256 id) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.TermsMismatch.selector, id);
    }

    function _tooLate(uint256 id, uint256 deadline) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.TooLate.selector, id, deadline);
    }

    function _tooEarly(uint256 id, uint256 deadline) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.TooEarly.selector, id, deadline);
    }

    function _invalid(bytes32 field) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.InvalidTerms.selector, field);
    }

    function _wrongValue(uint256 sent, uint256 expected) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.WrongValue.selector, sent, expected);
    }

    function _invalidAttestation(uint256 id) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.InvalidAttestation.selector, id);
    }

    function _panic(uint256 code) internal pure returns (bytes memory) {
        return abi.encodeWithSignature("Panic(uint256)", code);
    }

    // -------------------------------------------------------------------------------------------- looking

    function _is(uint256 id, IJobEscrow.State state, IJobEscrow.Tier tier, uint256 deadline) internal view {
        require(escrow.stateOf(id) == state, "state");
        require(escrow.tierOf(id) == tier, "tier");
        require(escrow.deadlineOf(id) == deadline, "deadline");
    }

    function _ended(uint256 id, IJobEscrow.State state, IJobEscrow.Tier tier) internal view {
        _is(id, state, tier, 0);
        _remembers(id, 0, false, IJobEscrow.Party.Nobody);
    }

    function _remembers(uint256 id, uint96 charge, bool rejected, IJobEscrow.Party by) internal view {
        (uint96 charge_, bool rejected_, IJobEscrow.Party by_) = escrow.deliveryOf(id);
        require(charge_ == charge && rejected_ == rejected && by_ == by, "delivery");
    }

    /// @dev What the parties of the usual job are owed in its token; nobody else is owed any.
    function _owes(uint256 toPayer, uint256 toOracle, uint256 toValidator) internal view {
        _owesOf(address(token), sponsor, toPayer);
        _owesOf(address(token), oracle, toOracle);
        _owesOf(address(token), validator, toValidator);
        _owesOf(address(token), requester, 0);
        _owesOf(address(token), stranger, 0);
        _owesOf(address(token), address(0), 0);
    }

    /// @dev The same in the native currency, which the bonds are in.
    function _owesBonds(uint256 toPayer, uint256 toOracle, uint256 toRequester) internal view {
        _owesOf(NATIVE, sponsor, toPayer);
        _owesOf(NATIVE, oracle, toOracle);
        _owesOf(NATIVE, requester, toRequester);
        _owesOf(NATIVE, validator, 0);
        _owesOf(NATIVE, stranger, 0);
        require(address(escrow).balance == toPayer + toOracle + toRequester, "native balance");
    }

    function _owesOf(address asset, address who, uint256 amount) internal view {
        require(escrow.creditOf(who, asset) == amount, "credit");
    }

    function _stakeIs(uint256 stake, uint256 locked) internal view {
        (uint256 stake_, uint256 locked_) = registry.stakeOf(oracle);
        require(stake_ == stake && locked_ == locked, "stake");
        require(address(registry).balance == stake + STAKE, "stakes");
    }

    function _minted(uint256 id) internal view {
        require(nft.ownerOf(id) == requester, "owner");
        require(nft.resultOf(id) == RESULT, "result");
    }
}
