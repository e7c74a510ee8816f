// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {IOracleRegistry} from "../interfaces/IOracleRegistry.sol";

/// @title Registry of oracles
/// @dev See the documentation in {IOracleRegistry}. Its creator is the escrow.
contract OracleRegistry is IOracleRegistry {
    /// @dev One slot. locked <= stake.
    struct Account {
        uint128 stake;
        uint128 locked;
    }

    /// @dev One slot.
    struct Unstaking {
        uint128 amount;
        uint64 availableAt;
    }

    /// @inheritdoc IOracleRegistry
    uint256 public constant UNSTAKING_DELAY = 7 days;

    /// @notice The only account that locks, releases and slashes.
    address public immutable escrow;

    /// @inheritdoc IOracleRegistry
    mapping(address oracle => bytes32) public sealingKeyOf;
    /// @inheritdoc IOracleRegistry
    mapping(address oracle => bytes32) public profileOf;
    mapping(address oracle => Account) private _accounts;
    mapping(address oracle => Unstaking) private _unstaking;

    constructor() {
        escrow = msg.sender;
    }

    modifier onlyEscrow() {
        if (msg.sender != escrow) revert OnlyEscrow(msg.sender);
        _;
    }

    /// @inheritdoc IOracleRegistry
    function register(bytes32 sealingKey, bytes32 profile) external payable {
        if (sealingKey == 0) revert EmptyKey();
        sealingKeyOf[msg.sender] = sealingKey;
        profileOf[msg.sender] = profile;
        emit OracleRegistered(msg.sender, sealingKey, profile);
        if (msg.value != 0) _addStake(msg.sender, msg.value);
    }

    /// @inheritdoc IOracleRegistry
    function addStake() external payable {
        if (msg.value == 0) revert ZeroAmount();
        _addStake(msg.sender, msg.value);
    }

    /// @inheritdoc IOracleRegistry
    function requestUnstake(uint256 amount) external {
        if (amount == 0) revert ZeroAmount();
        Account storage account = _accounts[msg.sender];
        _requireFree(msg.sender, account, amount);
        // Bounded: amount <= free stake, a uint128, and all stakes together are below the supply.
        account.stake -= uint128(amount);
        Unstaking storage leaving = _unstaking[msg.sender];
        leaving.amount += uint128(amount);
        leaving.availableAt = uint64(block.timestamp + UNSTAKING_DELAY);
        emit UnstakeRequested(msg.sender, amount, leaving.availableAt);
    }

    /// @inheritdoc IOracleRegistry
    function unstake(address to) external returns (uint256 amount) {
        if (to == address(0) || to == escrow) revert InvalidRecipient();
        Unstaking memory leaving = _unstaking[msg.sender];
        amount = leaving.amount;
        if (amount == 0) revert ZeroAmount();
        if (block.timestamp < leaving.availableAt) revert StillLocked(leaving.availableAt);
        delete _unstaking[msg.sender];
        emit Unstaked(msg.sender, to, amount);
        _send(to, amount);
    }

    /// @inheritdoc IOracleRegistry
    function lock(address oracle, uint256 amount) external onlyEscrow {
        Account storage account = _accounts[oracle];
        _requireFree(oracle, account, amount);
        account.locked += uint128(amount); // bounded: amount <= free stake
        emit BondLocked(oracle, amount);
    }

    /// @inheritdoc IOracleRegistry
    function release(address oracle, uint256 amount) external onlyEscrow {
        _accounts[oracle].locked -= uint128(amount); // bounded: the escrow releases what it locked, a uint96
        emit BondReleased(oracle, amount);
    }

    /// @inheritdoc IOracleRegistry
    function slash(address oracle, uint256 amount) external onlyEscrow {
        Account storage account = _accounts[oracle];
        account.locked -= uint128(amount); // bounded: the escrow slashes what it locked, a uint96
        account.stake -= uint128(amount);
        emit BondSlashed(oracle, amount);
        _send(escrow, amount);
    }

    /// @inheritdoc IOracleRegistry
    function stakeOf(address oracle) external view returns (uint256 stake, uint256 locked) {
        Account memory account = _accounts[oracle];
        return (account.stake, account.locked);
    }

    /// @inheritdoc IOracleRegistry
    function unstakingOf(address oracle) external view returns (uint256 amount, uint256 availableAt) {
        Unstaking memory leaving = _unstaking[oracle];
        return (leaving.amount, leaving.availableAt);
    }

    function _addStake(address oracle, uint256 amount) private {
        uint256 stake = _accounts[oracle].stake + amount;
        if (stake > type(uint128).max) revert StakeTooLarge(stake);
        _accounts[oracle].stake = uint128(stake);
        emit StakeAdded(oracle, amount, stake);
    }

    function _requireFree(address oracle, Account storage account, uint256 amount) private view {
        uint256 free = account.stake - account.locked;
        if (free < amount) revert InsufficientStake(oracle, free, amount);
    }

    function _send(address to, uint256 amount) private {
        // Return data is not copied, so a recipient cannot burn gas with it.
        if (!LowLevelCall.callNoReturn(to, amount, "")) revert TransferFailed(to, amount);
    }
}
