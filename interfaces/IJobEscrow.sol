// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Escrow for quantum jobs
/// @notice Holds the money and the state of every job. A wallet locks a budget under fixed terms, one oracle
/// runs the circuit and delivers a sealed result, and money moves only as the job's state allows.
/// @dev Immutable: no owner, no proxy, no pause. A job occupies one storage slot; its terms travel in
/// {JobCreated} and come back as calldata in every later call, checked against the stored hash.
/// Value leaves only through {withdraw}. Every state has an exit that anyone can take after a known time.
interface IJobEscrow {
    // ------------------------------------------------------------------------------------------- types

    /// @notice Every state of a job, on chain and off.
    /// @dev Stored on chain: Created, Accepted, Approved (promoted), Completed, Disputed and the five terminal states
    /// Settled, Rejected, Expired, Failed, Cancelled. Simulated to Running are progress reports and Validated is a
    /// verdict: events only.
    enum State {
        None,
        Created,
        Accepted,
        Simulated,
        Approved,
        Submitted,
        Queued,
        Running,
        Completed,
        Validated,
        Settled,
        Rejected,
        Expired,
        Failed,
        Cancelled,
        Disputed
    }

    /// @notice How much a result was verified, never more than that.
    /// @dev Unverified: the requester trusted the oracle it addressed. Unchallenged: nobody objected in the challenge
    /// period. Statistical, Replayed, Canary, Agreed: a validator signed for it with that method. Ruled: an arbiter
    /// decided.
    enum Tier {
        Unverified,
        Unchallenged,
        Statistical,
        Replayed,
        Canary,
        Agreed,
        Ruled
    }

    /// @notice What a validator did before signing; maps to the {Tier} of the same name.
    enum Method {
        Statistical,
        Replayed,
        Canary,
        Agreed
    }

    /// @notice Who put a delivered job before its arbiter.
    enum Party {
        Nobody,
        Requester,
        Oracle
    }

    /// @notice The conditions of a job, fixed at creation.
    /// @param requester owns the result; may cancel before acceptance and dispute after delivery
    /// @param payer funded the job; every refund and slashed bond goes here
    /// @param oracle the only account that may run the job; zero means whoever accepts first
    /// @param validator the account (or ERC-1271 contract) whose verdict counts; zero means none
    /// @param arbiter the account that rules on a dispute; zero means none
    /// @param token the ERC-20 the budget is in; zero means the native currency
    /// @param budget the cap locked at creation, in the token's smallest unit
    /// @param validatorFee part of the budget credited to a validator that gives a verdict
    /// @param bond native currency (wei) the oracle locks in the registry on accepting
    /// @param acceptBy last second (Unix time) at which the job can be accepted, or delivered without acceptance
    /// @param deliverBy last second (Unix time) at which an accepted job can be delivered
    /// @param challengePeriod seconds between delivery and settlement in which a verdict or dispute can come
    /// @param spec sha-256 digest of the job specification, a raw IPFS block
    /// @param sealTo the requester's X25519 public key for this job
    struct Terms {
        address requester;
        address payer;
        address oracle;
        address validator;
        address arbiter;
        address token;
        uint96 budget;
        uint96 validatorFee;
        uint96 bond;
        uint32 acceptBy;
        uint32 deliverBy;
        uint32 challengePeriod;
        bytes32 spec;
        bytes32 sealTo;
    }

    /// @notice A validator's signed verdict on one delivered result.
    /// @param accepted whether the result passed
    /// @param method what was done to find out
    /// @param distance the method's distance figure in millionths (0 where it has none)
    /// @param report sha-256 digest of the validation report
    /// @param signature EIP-712 signature by the validator over {ATTESTATION_TYPEHASH}: 65 bytes, or what an
    /// ERC-1271 validator contract accepts
    struct Attestation {
        bool accepted;
        Method method;
        uint32 distance;
        bytes32 report;
        bytes signature;
    }

    /// @notice A payer's ERC-3009 authorisation to take the budget. Its nonce is {authorizationNonce}, so that it pays
    /// for these terms and nothing else.
    /// @param validAfter the token takes the authorisation from the second after this Unix time
    /// @param validBefore and until the second before this one
    /// @param salt tells apart authorisations for equal terms
    /// @param v of the payer's signature over the token's `ReceiveWithAuthorization`
    /// @param r of that signature
    /// @param s of that signature
    struct Authorization {
        uint256 validAfter;
        uint256 validBefore;
        bytes32 salt;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice One delivery of a batch: the arguments of {deliver}, or of {deliverAttested} if `attested`.
    struct BatchedDelivery {
        uint256 jobId;
        Terms terms;
        uint96 charge;
        bytes32 result;
        bool attested;
        Attestation attestation;
    }

    /// @notice One verdict of a batch: the arguments of {validate}.
    struct BatchedVerdict {
        uint256 jobId;
        Terms terms;
        Attestation attestation;
    }

    /// @notice An account's signed wish to have its credit taken out for it.
    /// @param account whose credit it is, and who signed
    /// @param token zero for the native currency
    /// @param to who receives the credit less the fee
    /// @param fee what the relayer that makes the call is credited
    /// @param nonce the account's next for its key (24 bytes key, 8 bytes sequence: `nonces(account, key)`)
    /// @param deadline last second (Unix time) at which the signature is good
    struct Withdrawal {
        address account;
        address token;
        address to;
        uint256 fee;
        uint256 nonce;
        uint256 deadline;
    }

    // ------------------------------------------------------------------------------------------ events

    /// @notice A budget was locked under these terms. The only place the terms are published.
    event JobCreated(uint256 indexed jobId, address indexed requester, address indexed oracle, Terms terms);

    /// @notice A job moved to `state`, or `actor` reports that it did.
    /// @dev Emitted for Accepted, Rejected (by the oracle), Failed, Cancelled, Expired, Disputed, and by {report} for
    /// Simulated to Running. A report is only as good as its actor: readers keep those whose actor is the job's
    /// oracle. `evidence` is the reason for Rejected and Failed, a digest for the rest, or zero.
    event JobStateChanged(uint256 indexed jobId, State indexed state, address indexed actor, bytes32 evidence);

    /// @notice The requester approved hardware for an accepted job. Its terms are the same but for the budget.
    event JobPromoted(uint256 indexed jobId, address indexed requester, uint96 budget, bytes32 evidence);

    /// @notice A party to a disputed job published evidence for its arbiter.
    event JobEvidence(uint256 indexed jobId, address indexed party, bytes32 evidence);

    /// @notice The oracle posted the digest of a sealed result and what it asks for it.
    /// @dev `state` is Completed if a challenge period started, and Settled if the delivery settled at once: then
    /// the oracle was credited `charge`, the validator its fee if `tier` is an attested one, and the payer the rest.
    event JobDelivered(
        uint256 indexed jobId,
        address indexed oracle,
        bytes32 result,
        uint96 charge,
        State state,
        Tier tier
    );

    /// @notice The job's validator judged the delivered result (state Validated).
    event JobValidated(
        uint256 indexed jobId,
        address indexed validator,
        bool accepted,
        Method method,
        uint32 distance,
        bytes32 report
    );

    /// @notice A job that did not settle on delivery ended. `state` is Settled or Rejected; the payer was credited
    /// budget - toOracle - toValidator in the job's token, and `slashed` wei of the oracle's bond.
    /// @dev After a ruling on a dispute, the disputer's own bond splits the same way: `slashed` to the side that
    /// disputed for the requester (the requester itself, or the payer if the oracle disputed), the rest to the oracle.
    event JobSettled(
        uint256 indexed jobId,
        State state,
        Tier tier,
        uint96 toOracle,
        uint96 toValidator,
        uint96 slashed
    );

    /// @notice `account` took `amount` of `token` (zero: native) out to `to`.
    event Withdrawn(address indexed account, address indexed token, address to, uint256 amount);

    /// @notice `account` had `fee` of its credit in `token` (zero: native) passed on to the relayer of its withdrawal.
    event RelayerCredited(address indexed account, address indexed relayer, address indexed token, uint256 fee);

    // ------------------------------------------------------------------------------------------ errors

    /// @notice `account` may not make this call on this job.
    error NotAllowed(uint256 jobId, address account);
    /// @notice The terms given are not the ones the job was created (or accepted) with.
    error TermsMismatch(uint256 jobId);
    /// @notice The job is in a state that does not allow this call.
    error WrongState(uint256 jobId, State state);
    /// @notice The call comes after the job's `deadline`.
    error TooLate(uint256 jobId, uint256 deadline);
    /// @notice The call comes before the job's `deadline` has passed.
    error TooEarly(uint256 jobId, uint256 deadline);
    /// @notice The terms make no sense; `field` names the one at fault.
    error InvalidTerms(bytes32 field);
    /// @notice The native currency sent is not the amount asked for.
    error WrongValue(uint256 sent, uint256 expected);
    /// @notice The token moved another amount than asked (fee-on-transfer and rebasing tokens are refused).
    error InexactTransfer(address token, uint256 received, uint256 expected);
    /// @notice The charge exceeds what the terms allow.
    error ChargeTooHigh(uint256 jobId, uint256 charge, uint256 cap);
    /// @notice A delivery without a result digest.
    error EmptyResult(uint256 jobId);
    /// @notice The attestation's signature is not the validator's over this job, terms and result.
    error InvalidAttestation(uint256 jobId);
    /// @notice A delivery carries an attestation that rejects it.
    error RejectingAttestation(uint256 jobId);
    /// @notice The result has its verdict already.
    error AlreadyJudged(uint256 jobId);
    /// @notice The oracle's share of the charge exceeds 10 000 basis points.
    error ShareTooHigh(uint256 share);
    /// @notice Batched arguments differ in length.
    error LengthMismatch();
    /// @notice There is nothing to withdraw.
    error NothingToWithdraw(address account, address token);
    /// @notice Value sent to the zero address or to the escrow itself would be lost.
    error InvalidRecipient();
    /// @notice The signature is not `account`'s over this request.
    error InvalidSignature(address account);
    /// @notice The signature was good until `deadline`.
    error SignatureExpired(uint256 deadline);
    /// @notice The relayer's fee exceeds the credit.
    error FeeTooHigh(uint256 fee, uint256 credit);
    /// @notice The recipient refused the native currency.
    error TransferFailed(address to, uint256 amount);

    // --------------------------------------------------------------------------------- creating and ending

    /// @notice Lock a budget for one job. The caller is both requester and payer.
    /// @dev Native jobs send exactly `terms.budget` as value; ERC-20 jobs send none and have approved it.
    /// @param terms see {Terms}; terms that make no sense revert with {InvalidTerms}
    /// @return jobId the new job's id, also the token id of its result
    function createJob(Terms calldata terms) external payable returns (uint256 jobId);

    /// @notice {createJob} with an ERC-2612 permit for the budget, in one transaction.
    /// @dev A permit that fails is ignored: whoever front-runs the call by using it has granted the very allowance.
    function createJobWithPermit(
        Terms calldata terms,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (uint256 jobId);

    /// @notice Create a job paid with an ERC-3009 authorisation (`receiveWithAuthorization`, as USDC has it): the
    /// requester is the payer and signs once, anyone hands it in.
    function createJobWithAuthorization(
        Terms calldata terms,
        Authorization calldata authorization
    ) external returns (uint256 jobId);

    /// @notice Create a job for a requester who signed for it. The caller is the payer, and gets the refunds.
    /// @param nonce the requester's next for its key: `nonces(requester, key)`
    /// @param signature EIP-712 signature by the requester over {CREATE_JOB_TYPEHASH}: 65 bytes, or what an ERC-1271
    /// requester contract accepts. `terms.acceptBy` ends its validity.
    function createJobFor(
        Terms calldata terms,
        uint256 nonce,
        bytes calldata signature
    ) external payable returns (uint256 jobId);

    /// @notice {createJob} for several jobs in one token; the ids are consecutive.
    /// @return firstJobId id of the first
    function createJobs(Terms[] calldata terms) external payable returns (uint256 firstJobId);

    /// @notice Requester takes an unaccepted job back; the payer is credited the budget.
    function cancel(uint256 jobId, Terms calldata terms) external;

    /// @notice The oracle takes the job and locks `terms.bond` in the registry. On an open job the caller becomes the
    /// job's oracle, and the terms of every later call name it.
    function accept(uint256 jobId, Terms calldata terms) external;

    /// @notice The addressed oracle declines an unaccepted job; the payer is credited the budget.
    /// @param reason short ASCII text or a digest
    function reject(uint256 jobId, Terms calldata terms, bytes32 reason) external;

    /// @notice The oracle gives up an accepted job in time; the payer is credited the budget, the bond is released.
    /// @param reason short ASCII text or a digest
    function fail(uint256 jobId, Terms calldata terms, bytes32 reason) external;

    /// @notice Anyone returns the budget of a job that ran out of time; a bond locked for it goes to the payer.
    function claimRefund(uint256 jobId, Terms calldata terms) external;

    /// @notice The requester approves hardware for an accepted job, once, and may add to its budget. The terms of
    /// every later call name the new budget.
    /// @dev Not in the last {PROMOTION_NOTICE} before `deliverBy`: changed terms must not make the oracle late. Only a
    /// requester who is also the payer can add, since refunds go to the payer.
    /// @param extra what to add to the budget: sent as value, or approved in the job's token
    /// @param evidence what the approval rests on: sha-256 digest of the simulation's report, or zero
    function promote(uint256 jobId, Terms calldata terms, uint96 extra, bytes32 evidence) external payable;

    /// @notice Publish progress of running jobs as {JobStateChanged} events; stores nothing.
    /// @param jobIds jobs in state Created, Accepted or Approved
    /// @param states Simulated, Approved, Submitted, Queued or Running, one per job
    /// @param evidence a digest per job, or zero
    function report(uint256[] calldata jobIds, State[] calldata states, bytes32[] calldata evidence) external;

    // ------------------------------------------------------------------------------ delivering and judging

    /// @notice The oracle posts a sealed result; the result NFT is minted to the requester. Settles at once when the
    /// job names no validator and no challenge period; otherwise the challenge period starts.
    /// @param charge what the oracle bills, at most budget - validatorFee
    /// @param result sha-256 digest of the sealed result, a raw IPFS block
    function deliver(uint256 jobId, Terms calldata terms, uint96 charge, bytes32 result) external;

    /// @notice {deliver} carrying the validator's accepting attestation: settles at once.
    function deliverAttested(
        uint256 jobId,
        Terms calldata terms,
        uint96 charge,
        bytes32 result,
        Attestation calldata attestation
    ) external;

    /// @notice Several deliveries. One that cannot be made any more (the job ended, its time is over, its terms
    /// changed) is skipped, so that no requester can spoil a batch; anything else wrong with one reverts them all.
    /// @return delivered how many were made
    function deliverBatch(BatchedDelivery[] calldata deliveries) external returns (uint256 delivered);

    /// @notice Anyone hands in the validator's verdict within the challenge period. Acceptance settles. Rejection is
    /// final where the terms name no arbiter; otherwise it starts the challenge period anew, for the oracle to answer.
    function validate(uint256 jobId, Terms calldata terms, Attestation calldata attestation) external;

    /// @notice Several verdicts. One on a job that cannot take it any more (settled, disputed, judged, its time over)
    /// is skipped; anything else wrong with one reverts them all.
    /// @return judged how many counted
    function validateBatch(BatchedVerdict[] calldata verdicts) external returns (uint256 judged);

    /// @notice Requester or oracle puts a delivered job before the arbiter, with a bond of `terms.bond` wei as value.
    /// @param evidence sha-256 digest of the evidence
    function dispute(uint256 jobId, Terms calldata terms, bytes32 evidence) external payable;

    /// @notice Requester, payer, oracle or validator of a disputed job publishes evidence; stores nothing.
    /// @param evidence sha-256 digest of a raw IPFS block
    function submitEvidence(uint256 jobId, Terms calldata terms, bytes32 evidence) external;

    /// @notice The arbiter decides: the oracle gets `oracleShare` of the charge, and the bonds follow in proportion.
    /// @param oracleShare basis points, 0 to 10 000
    function rule(uint256 jobId, Terms calldata terms, uint256 oracleShare) external;

    /// @notice Anyone ends a delivered job whose challenge period (or ruling period) is over.
    function settle(uint256 jobId, Terms calldata terms) external;

    // ------------------------------------------------------------------------------------------ payments

    /// @notice Take everything credited to the caller in `token` (zero: native) out to `to`.
    /// @return amount what was sent
    function withdraw(address token, address to) external returns (uint256 amount);

    /// @notice {withdraw} for an account without gas, which signed for it. Anyone relays, and is credited the fee.
    /// @param signature EIP-712 signature by the account over {WITHDRAWAL_TYPEHASH}, or what an ERC-1271 account accepts
    /// @return amount what was sent: the credit less the fee
    function withdrawFor(
        Withdrawal calldata withdrawal,
        bytes calldata signature
    ) external returns (uint256 amount);

    // --------------------------------------------------------------------------------------------- views

    /// @notice Stored state of a job; None for an id never used.
    function stateOf(uint256 jobId) external view returns (State);

    /// @notice How much the job's result was verified; meaningful once Settled or Rejected.
    function tierOf(uint256 jobId) external view returns (Tier);

    /// @notice End of the current phase (Unix time): acceptance, delivery, challenge or ruling; 0 when terminal.
    function deadlineOf(uint256 jobId) external view returns (uint256);

    /// @notice Whether `terms` are the job's terms. After an open job was accepted they name its oracle.
    function matches(uint256 jobId, Terms calldata terms) external view returns (bool);

    /// @notice What a delivered, unsettled job was billed, whether its validator rejected it, and who disputed it.
    function deliveryOf(uint256 jobId) external view returns (uint96 charge, bool rejected, Party disputedBy);

    /// @notice What `account` can {withdraw} in `token` (zero: native).
    function creditOf(address account, address token) external view returns (uint256);

    /// @notice Number of jobs ever created; ids run from 1 to this.
    function jobCount() external view returns (uint256);

    /// @notice The digest a validator signs for this attestation on this job, terms and result (EIP-712).
    function attestationDigest(
        uint256 jobId,
        Terms calldata terms,
        bytes32 result,
        Attestation calldata attestation
    ) external view returns (bytes32);

    /// @notice EIP-712 type hash of an attestation:
    /// `Attestation(uint256 jobId,bytes32 termsHash,bytes32 result,bool accepted,uint8 method,uint32 distance,bytes32 report)`.
    function ATTESTATION_TYPEHASH() external view returns (bytes32);

    /// @notice EIP-712 type hash of a requester's order: `CreateJob(Terms terms,uint256 nonce)Terms(…)`, the terms with
    /// the fields of {Terms} in their order.
    function CREATE_JOB_TYPEHASH() external view returns (bytes32);

    /// @notice EIP-712 type hash of a {Withdrawal}:
    /// `Withdrawal(address account,address token,address to,uint256 fee,uint256 nonce,uint256 deadline)`.
    function WITHDRAWAL_TYPEHASH() external view returns (bytes32);

    /// @notice The ERC-3009 nonce that binds a payer's authorisation to these terms: keccak256(abi.encode(terms, salt)).
    function authorizationNonce(Terms calldata terms, bytes32 salt) external pure returns (bytes32);

    /// @notice How long before `deliverBy` promotion ends, in seconds.
    function PROMOTION_NOTICE() external view returns (uint32);

    /// @notice Seconds an arbiter has to rule.
    function RULING_PERIOD() external view returns (uint32);

    /// @notice Longest time from creation to `deliverBy`, in seconds.
    function MAX_JOB_DURATION() external view returns (uint32);

    /// @notice Longest challenge period, in seconds.
    function MAX_CHALLENGE_PERIOD() external view returns (uint32);
}
