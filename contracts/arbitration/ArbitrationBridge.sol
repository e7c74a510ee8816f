// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbitrable, IArbitrator, IEvidence} from "../../interfaces/IArbitration.sol";
import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";

/// @title Puts disputed jobs before an ERC-792 arbitrator
/// @notice Name this contract as a job's arbiter and the given arbitrator decides: a panel, a court, any ERC-792
/// contract. After {JobEscrow.dispute}, anyone pays the arbitrator's fee with {request}; after its ruling, anyone
/// hands the ruling to the escrow with {enforce}. If nobody pays or the arbitrator stays silent, the job ends as if
/// undisputed once the escrow's ruling period is over.
/// @dev Rulings: 0 refuses to rule, which is silence; r from 1 to 101 gives the oracle r - 1 percent of its charge.
/// No owner. Whoever asks for the ruling bears its fee: the escrow splits its own bonds and nothing else.
contract ArbitrationBridge is IArbitrable, IEvidence {
    /// @dev `requested` tells dispute 0 from none; `ruling` is 0 until there is one.
    struct Case {
        uint256 disputeId;
        uint64 ruling;
        bool requested;
    }

    /// @notice Number of rulings the arbitrator chooses from: 0 to 100 percent.
    uint256 public constant CHOICES = 101;
    /// @notice Id of the one meta-evidence (ERC-1497).
    uint256 public constant META_EVIDENCE = 0;
    uint256 private constant _BASIS_POINTS_PER_PERCENT = 100;

    /// @notice Where the jobs are.
    IJobEscrow public immutable escrow;
    /// @notice Who rules.
    IArbitrator public immutable arbitrator;

    /// @notice What the arbitrator is told with every dispute (its own format: a court, a number of jurors).
    bytes public extraData;
    /// @notice Dispute and ruling of a job.
    mapping(uint256 jobId => Case) public caseOf;
    mapping(uint256 disputeId => uint256 jobId) private _jobs;

    /// @notice The escrow does not hold this job as disputed before this arbiter, under these terms.
    error NotDisputedHere(uint256 jobId);
    /// @notice The job is before the arbitrator already.
    error AlreadyRequested(uint256 jobId);
    /// @notice The value sent is not the arbitrator's fee.
    error WrongFee(uint256 sent, uint256 cost);
    /// @notice Only the arbitrator rules.
    error NotArbitrator(address caller);
    /// @notice Not a dispute of this contract without a ruling.
    error NoOpenDispute(uint256 disputeId);
    /// @notice Not a ruling the arbitrator was given to choose from.
    error UnknownRuling(uint256 ruling);
    /// @notice There is no ruling to enforce, or it was a refusal to rule.
    error NoRuling(uint256 jobId);

    /// @param metaEvidence link to the document that tells the arbitrator what jobs and rulings mean (ERC-1497)
    constructor(IJobEscrow escrow_, IArbitrator arbitrator_, bytes memory extraData_, string memory metaEvidence) {
        escrow = escrow_;
        arbitrator = arbitrator_;
        extraData = extraData_;
        emit MetaEvidence(META_EVIDENCE, metaEvidence);
    }

    /// @notice Put a disputed job before the arbitrator. Value: its fee, exactly.
    /// @return disputeId the arbitrator's number for it
    function request(
        uint256 jobId,
        IJobEscrow.Terms calldata terms
    ) external payable returns (uint256 disputeId) {
        bool here = terms.arbiter == address(this) && escrow.matches(jobId, terms);
        if (!here || escrow.stateOf(jobId) != IJobEscrow.State.Disputed) revert NotDisputedHere(jobId);
        if (caseOf[jobId].requested) revert AlreadyRequested(jobId);
        uint256 cost = arbitrator.arbitrationCost(extraData);
        if (msg.value != cost) revert WrongFee(msg.value, cost);
        caseOf[jobId].requested = true;
        disputeId = arbitrator.createDispute{value: cost}(CHOICES, extraData);
        caseOf[jobId].disputeId = disputeId;
        _jobs[disputeId] = jobId;
        emit Dispute(arbitrator, disputeId, META_EVIDENCE, jobId);
    }

    /// @notice Publish evidence about a job; anybody may, readers weigh who did. The group is the job.
    /// @param link where the evidence is, `ipfs://…`
    function submitEvidence(uint256 jobId, string calldata link) external {
        emit Evidence(arbitrator, jobId, msg.sender, link);
    }

    /// @inheritdoc IArbitrable
    function rule(uint256 disputeId, uint256 ruling) external {
        if (msg.sender != address(arbitrator)) revert NotArbitrator(msg.sender);
        Case storage found = caseOf[_jobs[disputeId]];
        if (!found.requested || found.disputeId != disputeId || found.ruling != 0) revert NoOpenDispute(disputeId);
        if (ruling > CHOICES) revert UnknownRuling(ruling);
        found.ruling = uint64(ruling);
        emit Ruling(arbitrator, disputeId, ruling);
    }

    /// @notice Hand a ruling to the escrow, which pays by it.
    function enforce(uint256 jobId, IJobEscrow.Terms calldata terms) external {
        uint256 ruling = caseOf[jobId].ruling;
        if (ruling == 0) revert NoRuling(jobId);
        escrow.rule(jobId, terms, (ruling - 1) * _BASIS_POINTS_PER_PERCENT);
    }
}
