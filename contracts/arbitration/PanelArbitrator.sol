// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {IArbitrable, IArbitrator} from "../../interfaces/IArbitration.sol";

/// @title A fixed panel as ERC-792 arbitrator
/// @notice A dispute is decided by the first ruling that a threshold of the members has voted for. Its fee is shared
/// by those who did. There is no appeal, and nobody can change members, threshold or fee.
contract PanelArbitrator is IArbitrator {
    struct Case {
        IArbitrable arbitrable;
        uint32 choices;
        uint32 ruling;
        bool solved;
    }

    uint256 private constant _NO_APPEAL = type(uint256).max;

    /// @notice Votes that decide.
    uint256 public immutable threshold;
    /// @notice What a dispute costs, in wei.
    uint256 public immutable fee;
    /// @notice Number of members.
    uint256 public immutable size;

    /// @notice Whether an account is on the panel.
    mapping(address account => bool) public isMember;
    /// @notice What a member has earned and not withdrawn, in wei.
    mapping(address member => uint256) public earned;
    /// @dev Vote + 1, so that 0 is none.
    mapping(uint256 disputeId => mapping(address member => uint256)) private _votes;
    address[] private _members;
    Case[] private _cases;

    /// @notice A member voted, perhaps anew.
    event Voted(uint256 indexed disputeId, address indexed member, uint256 ruling);

    /// @notice Members are distinct and at least as many as the threshold, which is at least 1.
    error InvalidPanel();
    /// @notice Only members vote.
    error NotMember(address caller);
    /// @notice The value sent is not the fee.
    error WrongFee(uint256 sent, uint256 cost);
    /// @notice The dispute does not exist or is decided.
    error NotOpen(uint256 disputeId);
    /// @notice A dispute needs something to choose from, and rulings go from 0 to the number of choices.
    error UnknownRuling(uint256 ruling);
    /// @notice Rulings are final.
    error NoAppeal();
    /// @notice Nothing was earned.
    error NothingEarned(address member);
    /// @notice The recipient refused its earnings.
    error TransferFailed(address to, uint256 amount);

    constructor(address[] memory members, uint256 threshold_, uint256 fee_) {
        if (threshold_ == 0 || threshold_ > members.length) revert InvalidPanel();
        for (uint256 i = 0; i < members.length; ++i) {
            if (members[i] == address(0) || isMember[members[i]]) revert InvalidPanel();
            isMember[members[i]] = true;
        }
        _members = members;
        size = members.length;
        threshold = threshold_;
        fee = fee_;
    }

    /// @inheritdoc IArbitrator
    function createDispute(uint256 choices, bytes calldata) external payable returns (uint256 disputeId) {
        if (msg.value != fee) revert WrongFee(msg.value, fee);
        if (choices == 0 || choices > type(uint32).max - 1) revert UnknownRuling(choices);
        disputeId = _cases.length;
        _cases.push(Case(IArbitrable(msg.sender), uint32(choices), 0, false));
        emit DisputeCreation(disputeId, IArbitrable(msg.sender));
    }

    /// @notice Vote for a ruling, 0 to refuse; a member may change its vote until the dispute is decided. The vote
    /// that completes the threshold hands the ruling to the arbitrable.
    function vote(uint256 disputeId, uint256 ruling) external {
        if (!isMember[msg.sender]) revert NotMember(msg.sender);
        if (disputeId >= _cases.length || _cases[disputeId].solved) revert NotOpen(disputeId);
        Case storage found = _cases[disputeId];
        if (ruling > found.choices) revert UnknownRuling(ruling);
        _votes[disputeId][msg.sender] = ruling + 1;
        emit Voted(disputeId, msg.sender, ruling);
        if (votesFor(disputeId, ruling) < threshold) return;
        found.solved = true;
        found.ruling = uint32(ruling);
        _share(disputeId, ruling);
        found.arbitrable.rule(disputeId, ruling);
    }

    /// @notice Take the caller's earnings out to `to`.
    function withdraw(address to) external returns (uint256 amount) {
        amount = earned[msg.sender];
        if (amount == 0) revert NothingEarned(msg.sender);
        earned[msg.sender] = 0;
        if (!LowLevelCall.callNoReturn(to, amount, "")) revert TransferFailed(to, amount);
    }

    /// @inheritdoc IArbitrator
    function appeal(uint256, bytes calldata) external payable {
        revert NoAppeal();
    }

    /// @inheritdoc IArbitrator
    function arbitrationCost(bytes calldata) external view returns (uint256 cost) {
        return fee;
    }

    /// @inheritdoc IArbitrator
    function appealCost(uint256, bytes calldata) external pure returns (uint256 cost) {
        return _NO_APPEAL;
    }

    /// @inheritdoc IArbitrator
    function appealPeriod(uint256) external pure returns (uint256 start, uint256 end) {
        return (0, 0);
    }

    /// @inheritdoc IArbitrator
    function disputeStatus(uint256 disputeId) external view returns (DisputeStatus status) {
        return _cases[disputeId].solved ? DisputeStatus.Solved : DisputeStatus.Waiting;
    }

    /// @inheritdoc IArbitrator
    function currentRuling(uint256 disputeId) external view returns (uint256 ruling) {
        return _cases[disputeId].ruling;
    }

    /// @notice How many members have voted for `ruling`.
    function votesFor(uint256 disputeId, uint256 ruling) public view returns (uint256 count) {
        for (uint256 i = 0; i < size; ++i) {
            if (_votes[disputeId][_members[i]] == ruling + 1) ++count;
        }
    }

    /// @dev Exactly `threshold` members voted for it; what does not divide goes to the one who decided.
    function _share(uint256 disputeId, uint256 ruling) private {
        uint256 part = fee / threshold;
        for (uint256 i = 0; i < size; ++i) {
            if (_votes[disputeId][_members[i]] == ruling + 1) earned[_members[i]] += part;
        }
        earned[msg.sender] += fee - part * threshold;
    }
}
