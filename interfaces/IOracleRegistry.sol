// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Registry of oracles
/// @notice Keeps each oracle's stake, the part of it locked as bonds, its X25519 key and its profile.
/// @dev Only the escrow locks, releases and slashes. `locked <= stake` always. Stake leaves after a delay.
interface IOracleRegistry {
    /// @notice An oracle published its key and profile, for the first time or anew.
    event OracleRegistered(address indexed oracle, bytes32 sealingKey, bytes32 profile);
    /// @notice An oracle added stake; `stake` is the new total.
    event StakeAdded(address indexed oracle, uint256 amount, uint256 stake);
    /// @notice An oracle asked for stake back; it can be taken from `availableAt` (Unix time).
    event UnstakeRequested(address indexed oracle, uint256 amount, uint256 availableAt);
    /// @notice An oracle took stake out to `to`.
    event Unstaked(address indexed oracle, address to, uint256 amount);
    /// @notice A job's bond was locked.
    event BondLocked(address indexed oracle, uint256 amount);
    /// @notice A job's bond was released.
    event BondReleased(address indexed oracle, uint256 amount);
    /// @notice A job's bond was taken and sent to the escrow, which credits the payer.
    event BondSlashed(address indexed oracle, uint256 amount);

    /// @notice Only the escrow may call this.
    error OnlyEscrow(address caller);
    /// @notice The oracle has less free stake than asked for.
    error InsufficientStake(address oracle, uint256 free, uint256 needed);
    /// @notice An oracle must publish a sealing key.
    error EmptyKey();
    /// @notice Zero amounts change nothing and are refused.
    error ZeroAmount();
    /// @notice More stake than fits the account.
    error StakeTooLarge(uint256 stake);
    /// @notice The unstaking delay is not over.
    error StillLocked(uint256 availableAt);
    /// @notice The recipient refused the native currency.
    error TransferFailed(address to, uint256 amount);
    /// @notice Value sent to the zero address or to the escrow would be lost.
    error InvalidRecipient();

    /// @notice Publish or replace the caller's key and profile, adding the value sent to its stake.
    /// @param sealingKey X25519 public key that circuits and capsules for this oracle are sealed to
    /// @param profile sha-256 digest of the oracle's profile (capabilities, prices, endpoints), a raw IPFS block
    function register(bytes32 sealingKey, bytes32 profile) external payable;

    /// @notice Add the value sent to the caller's stake.
    function addStake() external payable;

    /// @notice Start taking free stake back. Requests add up; each restarts the delay.
    function requestUnstake(uint256 amount) external;

    /// @notice Take the requested stake out to `to` once the delay is over.
    function unstake(address to) external returns (uint256 amount);

    /// @notice Lock `amount` of the oracle's free stake. Escrow only.
    function lock(address oracle, uint256 amount) external;

    /// @notice Release `amount` of the oracle's locked stake. Escrow only.
    function release(address oracle, uint256 amount) external;

    /// @notice Take `amount` of the oracle's locked stake and send it to the escrow. Escrow only.
    function slash(address oracle, uint256 amount) external;

    /// @notice The oracle's X25519 key, zero if never registered.
    function sealingKeyOf(address oracle) external view returns (bytes32);

    /// @notice Digest of the oracle's profile.
    function profileOf(address oracle) external view returns (bytes32);

    /// @notice The oracle's stake and the part of it locked as bonds, in wei.
    function stakeOf(address oracle) external view returns (uint256 stake, uint256 locked);

    /// @notice Stake on its way out and when it can be taken (Unix time).
    function unstakingOf(address oracle) external view returns (uint256 amount, uint256 availableAt);

    /// @notice Seconds between {requestUnstake} and {unstake}.
    function UNSTAKING_DELAY() external view returns (uint256);
}
