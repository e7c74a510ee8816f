// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IJobEscrow} from "../interfaces/IJobEscrow.sol";
import {IResultNFT} from "../interfaces/IResultNFT.sol";

/// @title Result of a quantum job as an ERC-721 token
/// @dev See the documentation in {IResultNFT}. Its creator is the escrow. The metadata holds numbers, digests and
/// fixed labels only, so nothing in it needs escaping.
contract ResultNFT is IResultNFT, ERC721, IERC4906 {
    using Strings for address;
    using Strings for uint256;

    /// @dev CIDv1, raw codec, sha2-256, 32 bytes, in base16 multibase: any digest makes a working link.
    string private constant _CID_PREFIX = "ipfs://f01551220";

    /// @notice The only account that mints.
    IJobEscrow public immutable escrow;

    mapping(uint256 tokenId => bytes32) private _results;

    constructor() ERC721("Qscrow Result", "QSCROW") {
        escrow = IJobEscrow(msg.sender);
    }

    modifier onlyEscrow() {
        if (msg.sender != address(escrow)) revert OnlyEscrow(msg.sender);
        _;
    }

    /// @inheritdoc IResultNFT
    function mint(address to, uint256 jobId, bytes32 result) external onlyEscrow {
        _results[jobId] = result;
        _mint(to, jobId);
    }

    /// @inheritdoc IResultNFT
    function announceUpdate(uint256 jobId) external onlyEscrow {
        emit MetadataUpdate(jobId);
    }

    /// @inheritdoc IResultNFT
    function resultOf(uint256 tokenId) public view returns (bytes32) {
        _requireOwned(tokenId);
        return _results[tokenId];
    }

    /// @inheritdoc IResultNFT
    function resultURI(uint256 tokenId) public view returns (string memory) {
        string memory hexDigest = uint256(resultOf(tokenId)).toHexString(32); // 0x and 64 digits
        bytes memory digits = new bytes(64);
        for (uint256 i = 0; i < 64; ++i) {
            digits[i] = bytes(hexDigest)[i + 2];
        }
        return string.concat(_CID_PREFIX, string(digits));
    }

    /// @notice Metadata as a data URI: JSON with state, tier, the link to the sealed result and a small image.
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        string memory link = resultURI(tokenId);
        string memory id = tokenId.toString();
        string memory state = _label(escrow.stateOf(tokenId));
        string memory tier = _label(escrow.tierOf(tokenId));
        string memory head = string.concat(
            '{"name":"Quantum result #', id,
            '","description":"Sealed result of Qscrow job ', id,
            '. Only holders of the key it was sealed to can read it; a transfer of this token moves no key, and earlier '
            'owners keep what they could read.","image":"', _image(id, state, tier), '"'
        );
        string memory traits = string.concat(
            ',"attributes":[{"trait_type":"State","value":"', state,
            '"},{"trait_type":"Verification","value":"', tier, '"}]'
        );
        string memory facts = string.concat(
            ',"properties":{"job":"', id,
            '","chain":"eip155:', block.chainid.toString(),
            '","escrow":"', address(escrow).toHexString(),
            '","result":"', link, '"}}'
        );
        return _dataURI("application/json", string.concat(head, traits, facts));
    }

    /// @inheritdoc ERC721
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        // ERC-4906 has events only; its id is fixed by the standard.
        return interfaceId == 0x49064906 || super.supportsInterface(interfaceId);
    }

    function _image(
        string memory id,
        string memory state,
        string memory tier
    ) private pure returns (string memory) {
        return _dataURI(
            "image/svg+xml",
            string.concat(
                '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 320" font-family="monospace" fill="#e8eefc">'
                '<rect width="320" height="320" fill="#101a33"/><g stroke="#5b7bd5" stroke-width="3">'
                '<path d="M24 120h272M24 170h272M98 120v50"/></g><circle cx="98" cy="120" r="7"/>'
                '<circle cx="98" cy="170" r="13" fill="none" stroke="#e8eefc" stroke-width="3"/>'
                '<path d="M85 170h26M98 157v26M200 104h48v32h-48zM200 154h48v32h-48z" fill="#101a33" '
                'stroke="#e8eefc" stroke-width="3"/><text x="24" y="60" font-size="26">Job ', id,
                '</text><text x="24" y="244" font-size="20">', state,
                '</text><text x="24" y="276" font-size="16" fill="#9fb4ea">', tier, "</text></svg>"
            )
        );
    }

    function _dataURI(string memory mime, string memory content) private pure returns (string memory) {
        return string.concat("data:", mime, ";base64,", Base64.encode(bytes(content)));
    }

    /// @dev A token exists only from delivery on, so only these states occur.
    function _label(IJobEscrow.State state) private pure returns (string memory) {
        if (state == IJobEscrow.State.Completed) return "Completed";
        if (state == IJobEscrow.State.Disputed) return "Disputed";
        if (state == IJobEscrow.State.Rejected) return "Rejected";
        return "Settled";
    }

    function _label(IJobEscrow.Tier tier) private pure returns (string memory) {
        if (tier == IJobEscrow.Tier.Unchallenged) return "Unchallenged";
        if (tier == IJobEscrow.Tier.Statistical) return "Attested: statistical";
        if (tier == IJobEscrow.Tier.Replayed) return "Attested: replayed";
        if (tier == IJobEscrow.Tier.Canary) return "Attested: canary";
        if (tier == IJobEscrow.Tier.Agreed) return "Attested: agreed";
        if (tier == IJobEscrow.Tier.Ruled) return "Ruled";
        return "Unverified";
    }
}
