// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The part of ERC-3009 that pays an escrow
/// @dev https://eips.ethereum.org/EIPS/eip-3009
interface IERC3009 {
    /// @notice Move `value` from `from` to `to`, which must be the caller, as `from` signed it.
    /// @param from the payer, who signed
    /// @param to the payee, who calls
    /// @param value amount in the token's smallest unit
    /// @param validAfter good from the second after this Unix time
    /// @param validBefore good until the second before this one
    /// @param nonce any value the payer never used
    /// @param v of the signature
    /// @param r of the signature
    /// @param s of the signature
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;
}
