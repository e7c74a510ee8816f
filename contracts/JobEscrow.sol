// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IERC3009} from "../interfaces/IERC3009.sol";
import {IJobEscrow} from "../interfaces/IJobEscrow.sol";
import {JobSlots} from "./libraries/JobSlots.sol";
import {OracleRegistry} from "./OracleRegistry.sol";
import {ResultNFT} from "./ResultNFT.sol";

/// @title Escrow for quantum jobs
/// @dev See the documentation in {IJobEscrow}. Deploys its registry and its NFT, so the three can only ever know
/// each other. State is written before any call leaves the contract; the calls go to the two contracts above, to
/// the job's token on creation, and to the recipient of a withdrawal.
contract JobEscrow is IJobEscrow, EIP712, NoncesKeyed, ReentrancyGuardTransient {
    using JobSlots for JobSlots.Slot;
    using JobSlots for IJobEscrow.Terms;
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
    /// @dev One bit a state.
    uint256 private constant _DELIVERABLE =
        (1 << uint8(State.Created)) | (1 << uint8(State.Accepted)) | (1 << uint8(State.Approved));

    /// @inheritdoc IJobEscrow
    uint32 public constant PROMOTION_NOTICE = 1 hours;
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
    /// @inheritdoc IJobEscrow
    bytes32 public constant CREATE_JOB_TYPEHASH = keccak256(
        "CreateJob(Terms terms,uint256 nonce)"
        "Terms(address requester,address payer,address oracle,address validator,address arbiter,address token,"
        "uint96 budget,uint96 validatorFee,uint96 bond,uint32 acceptBy,uint32 deliverBy,uint32 challengePeriod,"
        "bytes32 spec,bytes32 sealTo)"
    );
    /// @inheritdoc IJobEscrow
    bytes32 public constant WITHDRAWAL_TYPEHASH = keccak256(
        "Withdrawal(address account,address token,address to,uint256 fee,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant _TERMS_TYPEHASH = keccak256(
        "Terms(address requester,address payer,address oracle,address validator,address arbiter,address token,"
        "uint96 budget,uint96 validatorFee,uint96 bond,uint32 acceptBy,uint32 deliverBy,uint32 challengePeriod,"
        "bytes32 spec,bytes32 sealTo)"
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
        jobId = _create(terms);
        _collect(terms.token, terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function createJobWithPermit(
        Terms calldata terms,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (uint256 jobId) {
        if (msg.sender != terms.requester) revert InvalidTerms("requester");
        if (msg.sender != terms.payer) revert InvalidTerms("payer");
        if (terms.token == _NATIVE) revert InvalidTerms("token");
        jobId = _create(terms);
        try IERC20Permit(terms.token).permit(msg.sender, address(this), terms.budget, deadline, v, r, s) {} catch {}
        _pull(terms.token, terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function createJobWithAuthorization(
        Terms calldata terms,
        Authorization calldata authorization
    ) external nonReentrant returns (uint256 jobId) {
        if (terms.requester != terms.payer) revert InvalidTerms("payer");
        if (terms.token == _NATIVE) revert InvalidTerms("token");
        jobId = _create(terms);
        uint256 held = IERC20(terms.token).balanceOf(address(this));
        IERC3009(terms.token).receiveWithAuthorization(
            terms.payer,
            address(this),
            terms.budget,
            authorization.validAfter,
            authorization.validBefore,
            authorizationNonce(terms, authorization.salt),
            authorization.v,
            authorization.r,
            authorization.s
        );
        _requireReceived(terms.token, held, terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function createJobFor(
        Terms calldata terms,
        uint256 nonce,
        bytes calldata signature
    ) external payable returns (uint256 jobId) {
        if (msg.sender != terms.payer) revert InvalidTerms("payer");
        bytes32 termsHash = JobSlots.structHash(terms, _TERMS_TYPEHASH);
        _useCheckedNonce(terms.requester, nonce);
        _checkSigned(terms.requester, keccak256(abi.encode(CREATE_JOB_TYPEHASH, termsHash, nonce)), signature);
        jobId = _create(terms);
        _collect(terms.token, terms.budget);
    }

    /// @inheritdoc IJobEscrow
    function createJobs(Terms[] calldata terms) external payable returns (uint256 firstJobId) {
        firstJobId = jobCount + 1;
        address token = terms.length == 0 ? _NATIVE : terms[0].token;
        uint256 total = 0;
        for (uint256 i = 0; i < terms.length; ++i) {
            if (msg.sender != terms[i].requester) revert InvalidTerms("requester");
            if (msg.sender != terms[i].payer) revert InvalidTerms("payer");
            if (terms[i].token != token) revert InvalidTerms("token");
            total += terms[i].budget;
            _create(terms[i]);
        }
        _collect(token, total);
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
            termsHash = JobSlots.hashWithOracle(terms, msg.sender);
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
        JobSlots.Slot slot = _load(jobId, terms);
        State current = slot.state();
        if (!_isTaken(current)) revert WrongState(jobId, current);
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
        if (!_isDeliverable(current)) revert WrongState(jobId, current);
        _after(jobId, slot.deadline());
        _close(jobId, slot, State.Expired, Tier.Unverified);
        emit JobStateChanged(jobId, State.Expired, msg.sender, 0);
        _credit(_credits[terms.token], terms.payer, terms.budget);
        if (current != State.Created) _slash(terms, terms.bond);
    }

    /// @inheritdoc IJobEscrow
    function promote(uint256 jobId, Terms calldata terms, uint96 extra, bytes32 evidence) external payable {
        JobSlots.Slot slot = _load(jobId, terms, State.Accepted);
        _onlyParty(jobId, terms.requester);
        _before(jobId, slot.deadline() - PROMOTION_NOTICE); // far above 0: it was a time to come at creation
        if (extra != 0 && terms.payer != msg.sender) revert InvalidTerms("payer");
        uint96 budget = terms.budget + extra;
        bytes27 termsHash = JobSlots.hashWithBudget(terms, budget);
        _slots[jobId] = JobSlots.pack(termsHash, State.Approved, Tier.Unverified, slot.deadline());
        emit JobPromoted(jobId, msg.sender, budget, evidence);
        if (extra != 0 || msg.value != 0) _collect(terms.token, extra); // some tokens refuse to move nothing
    }

    /// @inheritdoc IJobEscrow
    function report(uint256[] calldata jobIds, State[] calldata states, bytes32[] calldata evidence) external {
        if (jobIds.length != states.length || jobIds.length != evidence.length) revert LengthMismatch();
        for (uint256 i = 0; i < jobIds.length; ++i) {
            State current = _slots[jobIds[i]].state();
            bool reportable = states[i] >= State.Simulated && states[i] <= State.Running;
            if (!reportable || !_isDeliverable(current)) {
                revert WrongState(jobIds[i], reportable ? current : states[i]);
            }
            emit JobStateChanged(jobIds[i], states[i], msg.sender, evidence[i]);
        }
    }

    // ------------------------------------------------------------------------------ delivering and judging

    /// @inheritdoc IJobEscrow
    function deliver(uint256 jobId, Terms calldata terms, uint96 charge, bytes32 result) external {
        _deliver(jobId, terms, charge, result);
    }

    /// @inheritdoc IJobEscrow
    function deliverAttested(
        uint256 jobId,
        Terms calldata terms,
        uint96 charge,
        bytes32 result,
        Attestation calldata attestation
    ) external {
        _deliverAttested(jobId, terms, charge, result, attestation);
    }

    /// @inheritdoc IJobEscrow
    function deliverBatch(BatchedDelivery[] calldata deliveries) external returns (uint256 delivered) {
        for (uint256 i = 0; i < deliveries.length; ++i) {
            BatchedDelivery calldata item = deliveries[i];
            JobSlots.Slot slot = _slots[item.jobId];
            if (!_isDeliverable(slot.state()) || !_isCurrent(slot, item.terms)) continue;
            ++delivered;
            if (item.attested) _deliverAttested(item.jobId, item.terms, item.charge, item.result, item.attestation);
            else _deliver(item.jobId, item.terms, item.charge, item.result);
        }
    }

    /// @inheritdoc IJobEscrow
    function validate(uint256 jobId, Terms calldata terms, Attestation calldata attestation) external {
        _validate(jobId, terms, attestation);
    }

    /// @inheritdoc IJobEscrow
    function validateBatch(BatchedVerdict[] calldata verdicts) external returns (uint256 judged) {
        for (uint256 i = 0; i < verdicts.length; ++i) {
            BatchedVerdict calldata item = verdicts[i];
            JobSlots.Slot slot = _slots[item.jobId];
            if (slot.state() != State.Completed || !_isCurrent(slot, item.terms)) continue;
            if (_deliveries[item.jobId].rejected) continue;
            ++judged;
            _validate(item.jobId, item.terms, item.attestation);
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
    function submitEvidence(uint256 jobId, Terms calldata terms, bytes32 evidence) external {
        _load(jobId, terms, State.Disputed);
        bool served = msg.sender == terms.requester || msg.sender == terms.payer;
        if (!served && msg.sender != terms.oracle && msg.sender != terms.validator) {
            revert NotAllowed(jobId, msg.sender);
        }
        emit JobEvidence(jobId, msg.sender, evidence);
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
        amount = _takeCredit(msg.sender, token);
        _send(msg.sender, token, to, amount);
    }

    /// @inheritdoc IJobEscrow
    function withdrawFor(
        Withdrawal calldata withdrawal,
        bytes calldata signature
    ) external nonReentrant returns (uint256 amount) {
        if (block.timestamp > withdrawal.deadline) revert SignatureExpired(withdrawal.deadline);
        _useCheckedNonce(withdrawal.account, withdrawal.nonce);
        _checkSigned(withdrawal.account, keccak256(abi.encode(WITHDRAWAL_TYPEHASH, withdrawal)), signature);
        uint256 credit = _takeCredit(withdrawal.account, withdrawal.token);
        uint256 fee = withdrawal.fee;
        if (fee > credit) revert FeeTooHigh(fee, credit);
        if (fee != 0) {
            _credit(_credits[withdrawal.token], msg.sender, fee);
            emit RelayerCredited(withdrawal.account, msg.sender, withdrawal.token, fee);
        }
        amount = credit - fee;
        _send(withdrawal.account, withdrawal.token, withdrawal.to, amount);
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

    /// @inheritdoc IJobEscrow
    function authorizationNonce(Terms calldata terms, bytes32 salt) public pure returns (bytes32) {
        return JobSlots.hashWithSalt(terms, salt);
    }

    // ------------------------------------------------------------------------------------ steps of a job

    function _create(Terms calldata terms) private returns (uint256 jobId) {
        _checkTerms(terms);
        unchecked {
            jobId = ++jobCount; // bounded: one increment a job
        }
        _slots[jobId] = JobSlots.pack(JobSlots.hash(terms), State.Created, Tier.Unverified, terms.acceptBy);
        emit JobCreated(jobId, terms.requester, terms.oracle, terms);
    }

    function _deliver(uint256 jobId, Terms calldata terms, uint96 charge, bytes32 result) private {
        (JobSlots.Slot slot, bool bonded) = _takeDelivery(jobId, terms, charge, result);
        if (terms.word(JobSlots.CHALLENGE_PERIOD) == 0) {
            _split(jobId, slot, terms, State.Settled, Tier.Unverified, msg.sender, charge, 0);
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
        resultNFT.mint(terms.party(JobSlots.REQUESTER), jobId, result);
    }

    function _deliverAttested(
        uint256 jobId,
        Terms calldata terms,
        uint96 charge,
        bytes32 result,
        Attestation calldata attestation
    ) private {
        (JobSlots.Slot slot, bool bonded) = _takeDelivery(jobId, terms, charge, result);
        _checkAttestation(jobId, terms, result, attestation);
        if (!attestation.accepted) revert RejectingAttestation(jobId);
        Tier tier = _tierOf(attestation.method);
        _split(jobId, slot, terms, State.Settled, tier, msg.sender, charge, terms.validatorFee);
        emit JobDelivered(jobId, msg.sender, result, charge, State.Settled, tier);
        if (bonded) oracleRegistry.release(terms.oracle, terms.bond);
        resultNFT.mint(terms.party(JobSlots.REQUESTER), jobId, result);
    }

    function _validate(uint256 jobId, Terms calldata terms, Attestation calldata attestation) private {
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
    ) private view returns (JobSlots.Slot slot, bool bonded) {
        slot = _load(jobId, terms);
        State current = slot.state();
        if (!_isDeliverable(current)) revert WrongState(jobId, current);
        _onlyParty(jobId, terms.oracle);
        _before(jobId, slot.deadline());
        if (result == 0) revert EmptyResult(jobId);
        uint256 cap;
        unchecked {
            // Bounded: the fee was checked against the budget at creation.
            cap = terms.word(JobSlots.BUDGET) - terms.word(JobSlots.VALIDATOR_FEE);
        }
        if (charge > cap) revert ChargeTooHigh(jobId, charge, cap);
        bonded = current != State.Created && terms.word(JobSlots.BOND) != 0;
    }

    function _checkAttestation(
        uint256 jobId,
        Terms calldata terms,
        bytes32 result,
        Attestation calldata attestation
    ) private {
        address validator = terms.validator;
        bytes32 digest = attestationDigest(jobId, terms, result, attestation);
        if (!_isSigned(validator, digest, attestation.signature)) revert InvalidAttestation(jobId);
        emit JobValidated(
            jobId,
            validator,
            attestation.accepted,
            attestation.method,
            attestation.distance,
            attestation.report
        );
    }

    function _checkSigned(address account, bytes32 structHash, bytes calldata signature) private view {
        if (!_isSigned(account, _hashTypedDataV4(structHash), signature)) revert InvalidSignature(account);
    }

    function _isSigned(address account, bytes32 digest, bytes calldata signature) private view returns (bool) {
        // Recovering first spares an account look-up for every account that is a plain key. Nobody signs for the zero
        // address: recovery to it is an error, and it has no code to ask.
        (address signer, ECDSA.RecoverError err, ) = ECDSA.tryRecoverCalldata(digest, signature);
        if (err == ECDSA.RecoverError.NoError && signer == account) return true;
        return SignatureChecker.isValidERC1271SignatureNow(account, digest, signature);
    }

    /// @dev Whether the job's phase still runs under these terms: what others or time may have changed since a batch
    /// was put together.
    function _isCurrent(JobSlots.Slot slot, Terms calldata terms) private view returns (bool) {
        return slot.termsHash() == JobSlots.hash(terms) && block.timestamp <= slot.deadline();
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
        _requireReceived(token, held, amount);
    }

    function _requireReceived(address token, uint256 held, uint256 amount) private view {
        uint256 received = IERC20(token).balanceOf(address(this)) - held;
        if (received != amount) revert InexactTransfer(token, received, amount);
    }

    function _takeCredit(address account, address token) private returns (uint256 credit) {
        credit = _credits[token][account];
        if (credit == 0) revert NothingToWithdraw(account, token);
        _credits[token][account] = 0;
    }

    function _send(address account, address token, address to, uint256 amount) private {
        if (to == address(0) || to == address(this)) revert InvalidRecipient();
        emit Withdrawn(account, token, to, amount);
        if (token == _NATIVE) {
            // Return data is not copied, so a recipient cannot burn gas with it.
            if (!LowLevelCall.callNoReturn(to, amount, "")) revert TransferFailed(to, amount);
        } else {
            IERC20(token).safeTransfer(to, amount);
        }
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
        _split(jobId, slot, terms, state, tier, terms.oracle, toOracle, toValidator);
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
        address oracle,
        uint96 toOracle,
        uint96 toValidator
    ) private {
        _close(jobId, slot, state, tier);
        mapping(address account => uint256) storage credits = _credits[terms.party(JobSlots.TOKEN)];
        uint256 toPayer;
        unchecked {
            // Bounded: charge <= budget - fee, checked on delivery.
            toPayer = terms.word(JobSlots.BUDGET) - toValidator - toOracle;
        }
        _credit(credits, oracle, toOracle);
        if (toValidator != 0) _credit(credits, terms.validator, toValidator);
        _credit(credits, terms.party(JobSlots.PAYER), toPayer);
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

    /// @dev An oracle has taken the job and not delivered it.
    function _isTaken(State state) private pure returns (bool) {
        return state == State.Accepted || state == State.Approved;
    }

    /// @dev The job awaits its delivery.
    function _isDeliverable(State state) private pure returns (bool) {
        return (_DELIVERABLE >> uint8(state)) & 1 != 0;
    }

    function _tierOf(Method method) private pure returns (Tier) {
        return Tier(uint8(method) + uint8(Tier.Statistical));
    }

    function _share(uint96 amount, uint256 share) private pure returns (uint96) {
        // Bounded: share <= _FULL_SHARE, so the quotient is at most `amount`.
        return uint96((uint256(amount) * share) / _FULL_SHARE);
    }
}
