// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Result of a quantum job as an ERC-721 token
/// @notice The token id is the job id; the token carries the digest of the sealed result, for ever.
/// @dev Minted by the escrow alone, with `_mint`: a receiver hook could block settlement. Metadata is built on
/// chain from public facts; a transfer moves the token, not the secret: earlier owners keep what they could read.
interface IResultNFT {
    /// @notice Only the escrow may call this.
    error OnlyEscrow(address caller);

    /// @notice Mint the result of `jobId` to `to`. Escrow only.
    /// @param result sha-256 digest of the sealed result
    function mint(address to, uint256 jobId, bytes32 result) external;

    /// @notice Announce (ERC-4906) that the job's state or tier, and so the metadata, changed. Escrow only.
    function announceUpdate(uint256 jobId) external;

    /// @notice Digest of the sealed result; reverts for a token that does not exist.
    function resultOf(uint256 tokenId) external view returns (bytes32);

    /// @notice Where the sealed result is: `ipfs://f01551220<digest>`.
    function resultURI(uint256 tokenId) external view returns (string memory);
}
