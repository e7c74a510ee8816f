// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IJobEscrow} from "../interfaces/IJobEscrow.sol";
import {JobSlots} from "./libraries/JobSlots.sol";
import {OracleRegistry} from "./OracleRegistry.sol";
import {ResultNFT} from "./ResultNFT.sol";

/// @title Escrow for quantum jobs
/// @dev See the documentation in {IJobEscrow}. Deploys its registry and its NFT, so the three can only ever know
/// each other. State is written before any call leaves the contract; the calls go to the two contracts above, to
/// the job's token on creation, and to the recipient of a withdrawal.
contract JobEscrow is IJobEscrow, EIP712, ReentrancyGuardTransient {
    using JobSlots for JobSlots.Slot;
    using SafeERC20 for IERC20;

    /// @dev One slot: what is remembered of a delivery that did not settle at once. An accepting verdict settles, so
    /// the only verdict to remember is a rejection, with the tier of its method.
    struct Delivery {
        uint96 charge;
        bool rejected;
        Tier rejectedBy;
        Party disputedBy;
    }

    address private constant _NATIVE = address(0);
    uint256 private constant _FULL_SHARE = 10_000;

    /// @inheritdoc IJobEscrow
    uint32 public constant RULING_PERIOD = 14 days;
    /// @inheritdoc IJobEscrow
    uint32 public constant MAX_JOB_DURATION = 366 days;
    /// @inheritdoc IJobEscrow
    uint32 public constant MAX_CHALLENGE_PERIOD = 90 days;
    /// @inheritdoc IJobEscrow
    bytes32 public constant ATTESTATION_TYPEHASH = keccak256(
        "Attestation(uint256 jobId,bytes32 termsHash,bytes32 result,bool accepted,uint8 method,uint32 distance,bytes32 report)"
    );

    /// @notice Stakes and keys of the oracles.
    OracleRegistry public immutable oracleRegistry;
    /// @notice The tokens that carry the results.
    ResultNFT public immutable resultNFT;

    /// @inheritdoc IJobEscrow
    uint256 public jobCount;
    mapping(uint256 jobId => JobSlots.Slot) private _slots;
    mapping(uint256 jobId => Delivery) private _deliveries;
    mapping(address token => mapping(address account => uint256)) private _credits;

    constructor() EIP712("Qscrow", "1") {
        oracleRegistry = new OracleRegistry();
        resultNFT = new ResultNFT();
    }

    /// @dev Only slashed bonds come in bare; {claimRefund} and {settle} credit them to the payer.
    receive() external payable {
        if (msg.sender != address(oracleRegistry)) revert NotAllowed(0, msg.sender);
    }

    // --------------------------------------------------------------------------------- creating and ending

    /// @inheritdoc IJobEscrow
    function createJob(Terms calldata terms) external payable returns (uint256 jobId) {
        if (msg.sender != terms.requester) revert InvalidTerms("requester");
        if (msg.sender != terms.payer) revert InvalidTerms("payer");
        _checkTerms(terms);
        unchecked {
            jobId = ++jobCount; // bounded: one increment a call
        }
        _slots[jobId] = JobSlots.pack(JobSlots.hash(terms), State.Created, Tier.Unverified, terms.acceptBy);
        emit JobCreated(jobId, terms.requester, terms.oracle, terms);
        _collect(terms.token, terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function cancel(uint256 jobId, Terms calldata terms) external {
        JobSlots.Slot slot = _load(jobId, terms, State.Created);
        _onlyParty(jobId, terms.requester);
        _close(jobId, slot, State.Cancelled, Tier.Unverified);
        emit JobStateChanged(jobId, State.Cancelled, msg.sender, 0);
        _credit(_credits[terms.token], terms.payer, terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function accept(uint256 jobId, Terms calldata terms) external {
        JobSlots.Slot slot = _load(jobId, terms, State.Created);
        _before(jobId, slot.deadline());
        bytes27 termsHash = slot.termsHash();
        if (terms.oracle == address(0)) {
            if (msg.sender == terms.validator || msg.sender == terms.arbiter) revert NotAllowed(jobId, msg.sender);
            Terms memory taken = terms;
            taken.oracle = msg.sender;
            termsHash = bytes27(keccak256(abi.encode(taken)));
        } else {
            _onlyParty(jobId, terms.oracle);
        }
        _slots[jobId] = JobSlots.pack(termsHash, State.Accepted, Tier.Unverified, terms.deliverBy);
        emit JobStateChanged(jobId, State.Accepted, msg.sender, 0);
        if (terms.bond != 0) oracleRegistry.lock(msg.sender, terms.bond);
    }

    /// @inheritdoc IJobEscrow
    function reject(uint256 jobId, Terms calldata terms, bytes32 reason) external {
        JobSlots.Slot slot = _load(jobId, terms, State.Created);
        _onlyParty(jobId, terms.oracle);
        _close(jobId, slot, State.Rejected, Tier.Unverified);
        emit JobStateChanged(jobId, State.Rejected, msg.sender, reason);
        _credit(_credits[terms.token], terms.payer, terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function fail(uint256 jobId, Terms calldata terms, bytes32 reason) external {
        JobSlots.Slot slot = _load(jobId, terms, State.Accepted);
        _before(jobId, slot.deadline());
        _onlyParty(jobId, terms.oracle);
        _close(jobId, slot, State.Failed, Tier.Unverified);
        emit JobStateChanged(jobId, State.Failed, msg.sender, reason);
        _credit(_credits[terms.token], terms.payer, terms.budget);
        if (terms.bond != 0) oracleRegistry.release(terms.oracle, terms.bond);
    }

    /// @inheritdoc IJobEscrow
    function claimRefund(uint256 jobId, Terms calldata terms) external {
        JobSlots.Slot slot = _load(jobId, terms);
        State current = slot.state();
        if (current != State.Created && current != State.Accepted) revert WrongState(jobId, current);
        _after(jobId, slot.deadline());
        _close(jobId, slot, State.Expired, Tier.Unverified);
        emit JobStateChanged(jobId, State.Expired, msg.sender, 0);
        _credit(_credits[terms.token], terms.payer, terms.budget);
        if (current == State.Accepted) _slash(terms, terms.bond);
    }

    /// @inheritdoc IJobEscrow
    function report(uint256[] calldata jobIds, State[] calldata states, bytes32[] calldata evidence) external {
        if (jobIds.length != states.length || jobIds.length != evidence.length) revert LengthMismatch();
        for (uint256 i = 0; i < jobIds.length; ++i) {
            State current = _slots[jobIds[i]].state();
            bool reportable = states[i] >= State.Simulated && states[i] <= State.Running;
            if (!reportable || (current != State.Created && current != State.Accepted)) {
                revert WrongState(jobIds[i], reportable ? current : states[i]);
            }
            emit JobStateChanged(jobIds[i], states[i], msg.sender, evidence[i]);
        }
    }

    // ------------------------------------------------------------------------------ delivering and judging

    /// @inheritdoc IJobEscrow
    function deliver(uint256 jobId, Terms calldata terms, uint96 charge, bytes32 result) external {
        (JobSlots.Slot slot, bool bonded) = _takeDelivery(jobId, terms, charge, result);
        if (terms.challengePeriod == 0) {
            _split(jobId, slot, terms, State.Settled, Tier.Unverified, charge, 0);
            emit JobDelivered(jobId, msg.sender, result, charge, State.Settled, Tier.Unverified);
            if (bonded) oracleRegistry.release(terms.oracle, terms.bond);
        } else {
            // Bounded: both summands were checked against their maxima at creation, far below uint32.
            uint256 deadline = block.timestamp + terms.challengePeriod;
            _slots[jobId] = slot.moved(State.Completed, Tier.Unverified, deadline);
            _deliveries[jobId] = Delivery(charge, false, Tier.Unverified, Party.Nobody);
            emit JobDelivered(jobId, msg.sender, result, charge, State.Completed, Tier.Unverified);
            if (!bonded && terms.bond != 0) oracleRegistry.lock(terms.oracle, terms.bond);
        }
        resultNFT.mint(terms.requester, jobId, result);
    }

    /// @inheritdoc IJobEscrow
    function deliverAttested(
        uint256 jobId,
        Terms calldata terms,
        uint96 charge,
        bytes32 result,
        Attestation calldata attestation
    ) external {
        (JobSlots.Slot slot, bool bonded) = _takeDelivery(jobId, terms, charge, result);
        _checkAttestation(jobId, terms, result, attestation);
        if (!attestation.accepted) revert RejectingAttestation(jobId);
        Tier tier = _tierOf(attestation.method);
        _split(jobId, slot, terms, State.Settled, tier, charge, terms.validatorFee);
        emit JobDelivered(jobId, msg.sender, result, charge, State.Settled, tier);
        if (bonded) oracleRegistry.release(terms.oracle, terms.bond);
        resultNFT.mint(terms.requester, jobId, result);
    }

    /// @inheritdoc IJobEscrow
    function validate(uint256 jobId, Terms calldata terms, Attestation calldata attestation) external {
        JobSlots.Slot slot = _load(jobId, terms, State.Completed);
        _before(jobId, slot.deadline());
        Delivery memory delivery = _deliveries[jobId];
        if (delivery.rejected) revert AlreadyJudged(jobId);
        _checkAttestation(jobId, terms, resultNFT.resultOf(jobId), attestation);
        if (attestation.accepted) {
            delete _deliveries[jobId];
            Tier tier = _tierOf(attestation.method);
            _end(jobId, slot, terms, State.Settled, tier, delivery.charge, terms.validatorFee, 0);
            if (terms.bond != 0) oracleRegistry.release(terms.oracle, terms.bond);
        } else if (terms.arbiter == address(0)) {
            _refuse(jobId, slot, terms, _tierOf(attestation.method));
        } else {
            // A verdict in the last second must leave the oracle the whole period to answer it.
            uint256 deadline = block.timestamp + terms.challengePeriod;
            _slots[jobId] = slot.moved(State.Completed, Tier.Unverified, deadline);
            _deliveries[jobId] = Delivery(delivery.charge, true, _tierOf(attestation.method), Party.Nobody);
        }
    }

    /// @inheritdoc IJobEscrow
    function dispute(uint256 jobId, Terms calldata terms, bytes32 evidence) external payable {
        JobSlots.Slot slot = _load(jobId, terms, State.Completed);
        _before(jobId, slot.deadline());
        if (terms.arbiter == address(0)) revert InvalidTerms("arbiter");
        if (msg.value != terms.bond) revert WrongValue(msg.value, terms.bond);
        if (msg.sender == terms.requester) {
            _deliveries[jobId].disputedBy = Party.Requester;
        } else {
            _onlyParty(jobId, terms.oracle);
            _deliveries[jobId].disputedBy = Party.Oracle;
        }
        uint256 deadline = block.timestamp + RULING_PERIOD;
        _slots[jobId] = slot.moved(State.Disputed, Tier.Unverified, deadline);
        emit JobStateChanged(jobId, State.Disputed, msg.sender, evidence);
        resultNFT.announceUpdate(jobId);
    }

    /// @inheritdoc IJobEscrow
    function rule(uint256 jobId, Terms calldata terms, uint256 oracleShare) external {
        JobSlots.Slot slot = _load(jobId, terms, State.Disputed);
        _before(jobId, slot.deadline());
        _onlyParty(jobId, terms.arbiter);
        if (oracleShare > _FULL_SHARE) revert ShareTooHigh(oracleShare);
        Delivery memory delivery = _deliveries[jobId];
        delete _deliveries[jobId];
        uint96 fee = delivery.rejected ? terms.validatorFee : 0;
        uint96 toOracle = _share(delivery.charge, oracleShare);
        uint96 kept = _share(terms.bond, oracleShare);
        uint96 slashed = terms.bond - kept;
        State outcome = oracleShare == 0 ? State.Rejected : State.Settled;
        _end(jobId, slot, terms, outcome, Tier.Ruled, toOracle, fee, slashed);
        // The disputer's own bond splits the same way, between the two sides.
        mapping(address account => uint256) storage credits = _credits[_NATIVE];
        _credit(credits, terms.oracle, kept);
        _credit(credits, delivery.disputedBy == Party.Oracle ? terms.payer : terms.requester, slashed);
        if (kept != 0) oracleRegistry.release(terms.oracle, kept);
    }

    /// @inheritdoc IJobEscrow
    function settle(uint256 jobId, Terms calldata terms) external {
        JobSlots.Slot slot = _load(jobId, terms);
        State current = slot.state();
        if (current != State.Completed && current != State.Disputed) revert WrongState(jobId, current);
        _after(jobId, slot.deadline());
        Delivery memory delivery = _deliveries[jobId];
        if (delivery.disputedBy != Party.Nobody) {
            // A silent arbiter is nobody's fault: the disputer has its bond back.
            address disputer = delivery.disputedBy == Party.Oracle ? terms.oracle : terms.requester;
            _credit(_credits[_NATIVE], disputer, terms.bond);
        }
        if (delivery.rejected) {
            _refuse(jobId, slot, terms, delivery.rejectedBy);
            return;
        }
        delete _deliveries[jobId];
        _end(jobId, slot, terms, State.Settled, Tier.Unchallenged, delivery.charge, 0, 0);
        if (terms.bond != 0) oracleRegistry.release(terms.oracle, terms.bond);
    }

    // ------------------------------------------------------------------------------------------ payments

    /// @inheritdoc IJobEscrow
    function withdraw(address token, address to) external nonReentrant returns (uint256 amount) {
        if (to == address(0)) revert InvalidRecipient();
        amount = _credits[token][msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender, token);
        _credits[token][msg.sender] = 0;
        emit Withdrawn(msg.sender, token, to, amount);
        if (token == _NATIVE) {
            // Return data is not copied, so a recipient cannot burn gas with it.
            if (!LowLevelCall.callNoReturn(to, amount, "")) revert TransferFailed(to, amount);
        } else {
            IERC20(token).safeTransfer(to, amount);
        }
    }

    // --------------------------------------------------------------------------------------------- views

    /// @inheritdoc IJobEscrow
    function stateOf(uint256 jobId) external view returns (State) {
        return _slots[jobId].state();
    }

    /// @inheritdoc IJobEscrow
    function tierOf(uint256 jobId) external view returns (Tier) {
        return _slots[jobId].tier();
    }

    /// @inheritdoc IJobEscrow
    function deadlineOf(uint256 jobId) external view returns (uint256) {
        return _slots[jobId].deadline();
    }

    /// @inheritdoc IJobEscrow
    function matches(uint256 jobId, Terms calldata terms) external view returns (bool) {
        JobSlots.Slot slot = _slots[jobId];
        return slot.state() != State.None && slot.termsHash() == JobSlots.hash(terms);
    }

    /// @inheritdoc IJobEscrow
    function deliveryOf(uint256 jobId) external view returns (uint96 charge, bool rejected, Party disputedBy) {
        Delivery memory delivery = _deliveries[jobId];
        return (delivery.charge, delivery.rejected, delivery.disputedBy);
    }

    /// @inheritdoc IJobEscrow
    function creditOf(address account, address token) external view returns (uint256) {
        return _credits[token][account];
    }

    /// @inheritdoc IJobEscrow
    function attestationDigest(
        uint256 jobId,
        Terms calldata terms,
        bytes32 result,
        Attestation calldata attestation
    ) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    ATTESTATION_TYPEHASH,
                    jobId,
                    bytes32(JobSlots.hash(terms)),
                    result,
                    attestation.accepted,
                    attestation.method,
                    attestation.distance,
                    attestation.report
                )
            )
        );
    }

    // ------------------------------------------------------------------------------------ checks on callers

    function _checkTerms(Terms calldata terms) private view {
        if (terms.budget == 0) revert InvalidTerms("budget");
        if (terms.spec == 0) revert InvalidTerms("spec");
        if (terms.sealTo == 0) revert InvalidTerms("sealTo");
        if (terms.acceptBy < block.timestamp) revert InvalidTerms("acceptBy");
        if (terms.deliverBy < terms.acceptBy) revert InvalidTerms("deliverBy");
        if (terms.deliverBy > block.timestamp + MAX_JOB_DURATION) revert InvalidTerms("deliverBy");
        if (terms.challengePeriod > MAX_CHALLENGE_PERIOD) revert InvalidTerms("challengePeriod");
        // Anybody could take an open job and sit on it for nothing.
        if (terms.oracle == address(0) && terms.bond == 0) revert InvalidTerms("bond");

        bool validated = terms.validator != address(0);
        bool arbitrated = terms.arbiter != address(0);
        // Somebody to challenge before needs time to be called on, and time needs somebody.
        if ((validated || arbitrated) != (terms.challengePeriod != 0)) revert InvalidTerms("challengePeriod");
        if (validated && terms.validator == terms.oracle) revert InvalidTerms("validator");
        if (arbitrated && terms.arbiter == terms.oracle) revert InvalidTerms("arbiter");
        if (validated ? terms.validatorFee >= terms.budget : terms.validatorFee != 0) {
            revert InvalidTerms("validatorFee");
        }
    }

    function _load(uint256 jobId, Terms calldata terms) private view returns (JobSlots.Slot slot) {
        slot = _slots[jobId];
        if (slot.termsHash() != JobSlots.hash(terms)) {
            if (slot.state() == State.None) revert WrongState(jobId, State.None);
            revert TermsMismatch(jobId);
        }
    }

    function _load(
        uint256 jobId,
        Terms calldata terms,
        State required
    ) private view returns (JobSlots.Slot slot) {
        slot = _load(jobId, terms);
        if (slot.state() != required) revert WrongState(jobId, slot.state());
    }

    function _onlyParty(uint256 jobId, address party) private view {
        if (msg.sender != party) revert NotAllowed(jobId, msg.sender);
    }

    function _before(uint256 jobId, uint256 deadline) private view {
        if (block.timestamp > deadline) revert TooLate(jobId, deadline);
    }

    function _after(uint256 jobId, uint256 deadline) private view {
        if (block.timestamp <= deadline) revert TooEarly(jobId, deadline);
    }

    /// @return slot the job before delivery
    /// @return bonded whether a bond is locked for the job already
    function _takeDelivery(
        uint256 jobId,
        Terms calldata terms,
        uint96 charge,
        bytes32 result
    ) private returns (JobSlots.Slot slot, bool bonded) {
        slot = _load(jobId, terms);
        State current = slot.state();
        if (current != State.Created && current != State.Accepted) revert WrongState(jobId, current);
        _onlyParty(jobId, terms.oracle);
        _before(jobId, slot.deadline());
        if (result == 0) revert EmptyResult(jobId);
        uint256 cap;
        unchecked {
            cap = terms.budget - terms.validatorFee; // bounded: the fee was checked against the budget at creation
        }
        if (charge > cap) revert ChargeTooHigh(jobId, charge, cap);
        bonded = current == State.Accepted && terms.bond != 0;
    }

    function _checkAttestation(
        uint256 jobId,
        Terms calldata terms,
        bytes32 result,
        Attestation calldata attestation
    ) private {
        bytes32 digest = attestationDigest(jobId, terms, result, attestation);
        address validator = terms.validator;
        // Recovering first spares an account look-up for every validator that is a plain key.
        (address signer, ECDSA.RecoverError err, ) = ECDSA.tryRecoverCalldata(digest, attestation.signature);
        bool signed = err == ECDSA.RecoverError.NoError && signer == validator;
        if (validator == address(0)) revert InvalidAttestation(jobId);
        if (!signed && !SignatureChecker.isValidERC1271SignatureNow(validator, digest, attestation.signature)) {
            revert InvalidAttestation(jobId);
        }
        emit JobValidated(
            jobId,
            validator,
            attestation.accepted,
            attestation.method,
            attestation.distance,
            attestation.report
        );
    }

    // --------------------------------------------------------------------------------------- moving money

    function _collect(address token, uint256 amount) private {
        if (token == _NATIVE) {
            if (msg.value != amount) revert WrongValue(msg.value, amount);
        } else {
            if (msg.value != 0) revert WrongValue(msg.value, 0);
            _pull(token, amount);
        }
    }

    function _pull(address token, uint256 amount) private nonReentrant {
        uint256 held = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(token).balanceOf(address(this)) - held;
        if (received != amount) revert InexactTransfer(token, received, amount);
    }

    /// @dev The validator's rejection stands: the oracle gets nothing and loses its bond.
    function _refuse(uint256 jobId, JobSlots.Slot slot, Terms calldata terms, Tier tier) private {
        delete _deliveries[jobId];
        _end(jobId, slot, terms, State.Rejected, tier, 0, terms.validatorFee, terms.bond);
    }

    /// @dev Ends a job some time after its delivery.
    function _end(
        uint256 jobId,
        JobSlots.Slot slot,
        Terms calldata terms,
        State state,
        Tier tier,
        uint96 toOracle,
        uint96 toValidator,
        uint96 slashed
    ) private {
        _split(jobId, slot, terms, state, tier, toOracle, toValidator);
        emit JobSettled(jobId, state, tier, toOracle, toValidator, slashed);
        _slash(terms, slashed);
        resultNFT.announceUpdate(jobId);
    }

    /// @dev Ends a delivered job and splits its budget three ways.
    function _split(
        uint256 jobId,
        JobSlots.Slot slot,
        Terms calldata terms,
        State state,
        Tier tier,
        uint96 toOracle,
        uint96 toValidator
    ) private {
        _close(jobId, slot, state, tier);
        mapping(address account => uint256) storage credits = _credits[terms.token];
        uint256 toPayer;
        unchecked {
            toPayer = terms.budget - toValidator - toOracle; // bounded: charge <= budget - fee, checked on delivery
        }
        _credit(credits, terms.oracle, toOracle);
        if (toValidator != 0) _credit(credits, terms.validator, toValidator);
        _credit(credits, terms.payer, toPayer);
    }

    function _close(uint256 jobId, JobSlots.Slot slot, State state, Tier tier) private {
        _slots[jobId] = slot.moved(state, tier, 0);
    }

    function _slash(Terms calldata terms, uint96 amount) private {
        if (amount == 0) return;
        _credit(_credits[_NATIVE], terms.payer, amount);
        oracleRegistry.slash(terms.oracle, amount);
    }

    function _credit(mapping(address account => uint256) storage credits, address account, uint256 amount) private {
        if (amount == 0) return;
        unchecked {
            credits[account] += amount; // bounded: amounts are below 2**96, and 2**160 of them never come together
        }
    }

    // -------------------------------------------------------------------------------------------- pure

    function _tierOf(Method method) private pure returns (Tier) {
        return Tier(uint8(method) + uint8(Tier.Statistical));
    }

    function _share(uint96 amount, uint256 share) private pure returns (uint96) {
        // Bounded: share <= _FULL_SHARE, so the quotient is at most `amount`.
        return uint96((uint256(amount) * share) / _FULL_SHARE);
    }
}
