// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";
import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {IResultNFT} from "../../../interfaces/IResultNFT.sol";
import {ResultNFT} from "../../../contracts/ResultNFT.sol";
import {benchVm} from "./BenchVm.sol";
import {deployed, vm} from "../Vm.sol";

/// @dev The NFT with the test as its escrow.
contract ResultNFTTest {
    bytes32 private constant RESULT = 0x00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210;
    string private constant LINK =
        "ipfs://f0155122000112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";
    address private constant OWNER = address(0xa1);
    address private constant STRANGER = address(0xa2);
    ResultNFT private nft = ResultNFT(deployed("ResultNFT"));
    IJobEscrow.State private state;
    IJobEscrow.Tier private tier;

    /// @dev As the escrow: states of the one job.
    function stateOf(uint256 id) external view returns (IJobEscrow.State) {
        return id == 42 ? state : IJobEscrow.State.None;
    }

    function tierOf(uint256 id) external view returns (IJobEscrow.Tier) {
        return id == 42 ? tier : IJobEscrow.Tier.Unverified;
    }

    function test_constructor__creator__is_the_escrow() external view {
        require(address(nft.escrow()) == address(this));
        require(_same(nft.name(), "Qscrow Result") && _same(nft.symbol(), "QSCROW"));
    }

    function test_mint__by_the_escrow__gives_the_result_to_its_owner() external {
        nft.mint(OWNER, 42, RESULT);

        require(nft.ownerOf(42) == OWNER && nft.resultOf(42) == RESULT && nft.balanceOf(OWNER) == 1);
    }

    function test_mint__to_a_contract_without_a_hook__succeeds() external {
        nft.mint(address(this), 42, RESULT);

        require(nft.ownerOf(42) == address(this));
    }

    function test_mint__again_or_to_nobody__is_refused() external {
        nft.mint(OWNER, 42, RESULT);

        bytes memory sender = abi.encodeWithSelector(IERC721Errors.ERC721InvalidSender.selector, address(0));
        _refuse(address(this), abi.encodeCall(nft.mint, (STRANGER, 42, "other")), sender);
        bytes memory receiver = abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, address(0));
        _refuse(address(this), abi.encodeCall(nft.mint, (address(0), 43, RESULT)), receiver);

        require(nft.resultOf(42) == RESULT && nft.ownerOf(42) == OWNER);
    }

    function test_mint_and_announceUpdate__anybody_but_the_escrow__is_refused() external {
        bytes memory only = abi.encodeWithSelector(IResultNFT.OnlyEscrow.selector, STRANGER);
        _refuse(STRANGER, abi.encodeCall(nft.mint, (STRANGER, 42, RESULT)), only);
        _refuse(STRANGER, abi.encodeCall(nft.announceUpdate, (42)), only);
    }

    function test_announceUpdate__by_the_escrow__announces_the_token() external {
        benchVm.expectEmit(address(nft));
        emit IERC4906.MetadataUpdate(42);
        nft.announceUpdate(42);
    }

    function test_transfer__to_another_owner__keeps_the_result() external {
        nft.mint(OWNER, 42, RESULT);
        vm.prank(OWNER);
        nft.transferFrom(OWNER, STRANGER, 42);

        require(nft.ownerOf(42) == STRANGER && nft.resultOf(42) == RESULT);
    }

    function test_views__token_that_does_not_exist__is_refused() external {
        nft.mint(OWNER, 42, RESULT);
        bytes memory missing = abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, 41);

        _refuse(OWNER, abi.encodeCall(nft.resultOf, (41)), missing);
        _refuse(OWNER, abi.encodeCall(nft.resultURI, (41)), missing);
        _refuse(OWNER, abi.encodeCall(nft.tokenURI, (41)), missing);
    }

    function test_resultURI__any_digest__keeps_its_leading_zeros() external {
        nft.mint(OWNER, 42, RESULT);

        require(_same(nft.resultURI(42), LINK));
    }

    function test_tokenURI__every_state__is_named() external {
        nft.mint(OWNER, 42, RESULT);
        IJobEscrow.State[4] memory states = [
            IJobEscrow.State.Completed, IJobEscrow.State.Disputed, IJobEscrow.State.Rejected, IJobEscrow.State.Settled
        ];
        string[4] memory names = ["Completed", "Disputed", "Rejected", "Settled"];
        for (uint256 i = 0; i < 4; ++i) {
            state = states[i];
            require(_same(nft.tokenURI(42), _uri(names[i], "Unverified")), names[i]);
        }
    }

    function test_tokenURI__every_tier__is_named() external {
        nft.mint(OWNER, 42, RESULT);
        state = IJobEscrow.State.Settled;
        string[7] memory names = [
            "Unverified",
            "Unchallenged",
            "Attested: statistical",
            "Attested: replayed",
            "Attested: canary",
            "Attested: agreed",
            "Ruled"
        ];
        for (uint8 i = 0; i < 7; ++i) {
            tier = IJobEscrow.Tier(i);
            require(_same(nft.tokenURI(42), _uri("Settled", names[i])), names[i]);
        }
    }

    function test_supportsInterface__the_standards__and_no_others() external view {
        require(nft.supportsInterface(0x01ffc9a7), "ERC-165");
        require(nft.supportsInterface(0x80ac58cd), "ERC-721");
        require(nft.supportsInterface(0x5b5e139f), "ERC-721 metadata");
        require(nft.supportsInterface(0x49064906), "ERC-4906");
        require(!nft.supportsInterface(0xffffffff) && !nft.supportsInterface(0x780e9d63), "none of these");
    }

    // -------------------------------------------------------------------------------------------- parts

    function _uri(string memory state_, string memory tier_) private view returns (string memory) {
        string memory head = string.concat(
            '{"name":"Quantum result #42","description":"Sealed result of Qscrow job 42. Only holders of the key it was ',
            "sealed to can read it; a transfer of this token moves no key, and earlier owners keep what they could ",
            'read.","image":"data:image/svg+xml;base64,',
            Base64.encode(bytes(_svg(state_, tier_))),
            '","attributes":[{"trait_type":"State","value":"',
            state_,
            '"},{"trait_type":"Verification","value":"',
            tier_
        );
        string memory tail = string.concat(
            '"}],"properties":{"job":"42","chain":"eip155:31337","escrow":"',
            Strings.toHexString(address(this)),
            '","result":"',
            LINK,
            '"}}'
        );
        return string.concat("data:application/json;base64,", Base64.encode(bytes(string.concat(head, tail))));
    }

    function _svg(string memory state_, string memory tier_) private pure returns (string memory) {
        return string.concat(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 320" font-family="monospace" fill="#e8eefc"><rect width="320" height="320" fill="#101a33"/><g stroke="#5b7bd5" stroke-width="3"><path d="M24 120h272M24 170h272M98 120v50"/></g><circle cx="98" cy="120" r="7"/><circle cx="98" cy="170" r="13" fill="none" stroke="#e8eefc" stroke-width="3"/><path d="M85 170h26M98 157v26M200 104h48v32h-48zM200 154h48v32h-48z" fill="#101a33" stroke="#e8eefc" stroke-width="3"/><text x="24" y="60" font-size="26">Job 42</text><text x="24" y="244" font-size="20">',
            state_,
            '</text><text x="24" y="276" font-size="16" fill="#9fb4ea">',
            tier_,
            "</text></svg>"
        );
    }

    function _refuse(address caller, bytes memory data, bytes memory expected) private {
        vm.prank(caller);
        (bool ok, bytes memory answer) = address(nft).call(data);
        require(!ok && keccak256(answer) == keccak256(expected), "not refused for this reason");
    }

    function _same(string memory a, string memory b) private pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }
}
