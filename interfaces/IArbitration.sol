// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Whoever asks for a ruling (ERC-792)
/// @dev https://eips.ethereum.org/EIPS/eip-792
interface IArbitrable {
    /// @notice A ruling arrived.
    event Ruling(IArbitrator indexed arbitrator, uint256 indexed disputeId, uint256 ruling);

    /// @notice Take a ruling. Called by the arbitrator the dispute was created with.
    /// @param ruling 1 to the number of choices, or 0 when the arbitrator refuses to rule
    function rule(uint256 disputeId, uint256 ruling) external;
}

/// @title Whoever gives rulings (ERC-792)
/// @dev https://eips.ethereum.org/EIPS/eip-792
interface IArbitrator {
    /// @notice Where a dispute stands.
    enum DisputeStatus {
        Waiting,
        Appealable,
        Solved
    }

    /// @notice A dispute was created.
    event DisputeCreation(uint256 indexed disputeId, IArbitrable indexed arbitrable);
    /// @notice The current ruling can be appealed.
    event AppealPossible(uint256 indexed disputeId, IArbitrable indexed arbitrable);
    /// @notice The current ruling was appealed.
    event AppealDecision(uint256 indexed disputeId, IArbitrable indexed arbitrable);

    /// @notice Create a dispute; the caller is the arbitrable. Value: {arbitrationCost}.
    /// @param choices number of rulings to choose from
    /// @param extraData whatever the arbitrator wants to know
    function createDispute(uint256 choices, bytes calldata extraData) external payable returns (uint256 disputeId);

    /// @notice What a dispute costs, in wei.
    function arbitrationCost(bytes calldata extraData) external view returns (uint256 cost);

    /// @notice Appeal the current ruling. Value: {appealCost}.
    function appeal(uint256 disputeId, bytes calldata extraData) external payable;

    /// @notice What an appeal costs, in wei; out of reach where there is none.
    function appealCost(uint256 disputeId, bytes calldata extraData) external view returns (uint256 cost);

    /// @notice When the current ruling can be appealed (Unix times), both 0 where it cannot.
    function appealPeriod(uint256 disputeId) external view returns (uint256 start, uint256 end);

    /// @notice Where the dispute stands.
    function disputeStatus(uint256 disputeId) external view returns (DisputeStatus status);

    /// @notice The ruling given, or given if nothing changes; 0 for none.
    function currentRuling(uint256 disputeId) external view returns (uint256 ruling);
}

/// @title Evidence for arbitrators (ERC-1497)
/// @dev https://eips.ethereum.org/EIPS/eip-1497
interface IEvidence {
    /// @notice The document that explains what disputes are about and what each ruling means.
    event MetaEvidence(uint256 indexed metaEvidenceId, string evidence);
    /// @notice A party hands in evidence.
    event Evidence(
        IArbitrator indexed arbitrator,
        uint256 indexed evidenceGroupId,
        address indexed party,
        string evidence
    );
    /// @notice A dispute began.
    event Dispute(
        IArbitrator indexed arbitrator,
        uint256 indexed disputeId,
        uint256 metaEvidenceId,
        uint256 evidenceGroupId
    );
}
