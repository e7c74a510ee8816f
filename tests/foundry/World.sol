// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";
import {JobEscrow} from "../../contracts/JobEscrow.sol";
import {OracleRegistry} from "../../contracts/OracleRegistry.sol";
import {ResultNFT} from "../../contracts/ResultNFT.sol";
import {PlainToken} from "../../contracts/test/Tokens.sol";
import {deployed, vm} from "./Vm.sol";

/// @dev The contracts, a token and seven actors, all with keys.
abstract contract World {
    uint256 internal constant REQUESTER = 0xA1;
    uint256 internal constant SPONSOR = 0xA2;
    uint256 internal constant ORACLE = 0xA3;
    uint256 internal constant OTHER_ORACLE = 0xA4;
    uint256 internal constant VALIDATOR = 0xA5;
    uint256 internal constant ARBITER = 0xA6;
    uint256 internal constant STRANGER = 0xA7;
    uint256 internal constant ACTORS = 7;
    address internal constant NATIVE = address(0);

    JobEscrow public escrow;
    OracleRegistry public registry;
    ResultNFT public nft;
    PlainToken public token;

    constructor() {
        vm.warp(1_700_000_000);
        escrow = JobEscrow(deployed("JobEscrow"));
        registry = escrow.oracleRegistry();
        nft = escrow.resultNFT();
        token = new PlainToken();
        for (uint256 i = 0; i < ACTORS; ++i) {
            address who = vm.addr(REQUESTER + i);
            token.mint(who, type(uint128).max);
            vm.prank(who);
            token.approve(address(escrow), type(uint256).max);
        }
    }

    /// @dev A verdict signed by `key`, hashed here from the documentation and not by the contract.
    function attest(
        uint256 key,
        uint256 jobId,
        IJobEscrow.Terms memory terms,
        bytes32 result,
        bool accepted,
        IJobEscrow.Method method
    ) internal view returns (IJobEscrow.Attestation memory) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Attestation(uint256 jobId,bytes32 termsHash,bytes32 result,bool accepted,uint8 method,uint32 distance,bytes32 report)"
                ),
                jobId,
                bytes32(bytes27(keccak256(abi.encode(terms)))),
                result,
                accepted,
                uint8(method),
                uint32(7),
                bytes32("report")
            )
        );
        return IJobEscrow.Attestation(accepted, method, 7, "report", signed(key, structHash));
    }

    /// @dev 65 bytes over typed data of the escrow's domain.
    function signed(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Qscrow"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, structHash)));
        return abi.encodePacked(r, s, v);
    }
}
