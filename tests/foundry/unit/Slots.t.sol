// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {SlotsHarness} from "../SlotsHarness.sol";

contract SlotsTest {
    bytes32 private constant PACKED = 0x0102030405060708090a0b0c0d0e0f101112131415161718191aff6f89abcdef;
    bytes27 private constant HASH = 0x0102030405060708090a0b0c0d0e0f101112131415161718191aff;
    SlotsHarness private slots = new SlotsHarness();

    function test_pack__known_parts__lie_where_documented() external view {
        require(slots.pack(HASH, IJobEscrow.State.Disputed, IJobEscrow.Tier.Ruled, 0x89abcdef) == PACKED);
        require(slots.pack(0, IJobEscrow.State.Created, IJobEscrow.Tier.Unverified, 0) == bytes32(uint256(1) << 32));
        require(slots.pack(0, IJobEscrow.State.None, IJobEscrow.Tier.Unchallenged, 0) == bytes32(uint256(1) << 36));
        require(slots.pack(0, IJobEscrow.State.None, IJobEscrow.Tier.Unverified, 1) == bytes32(uint256(1)));
    }

    function test_pack__deadline_over_32_bits__spares_the_other_parts() external view {
        bytes32 slot = slots.pack(HASH, IJobEscrow.State.Created, IJobEscrow.Tier.Unverified, type(uint256).max);

        require(slot == bytes32(HASH) | bytes32(uint256(0x01ffffffff)));
    }

    function test_read__known_slot__gives_its_parts() external view {
        (bytes27 hash, IJobEscrow.State state, IJobEscrow.Tier tier, uint256 deadline) = slots.read(PACKED);

        require(hash == HASH && state == IJobEscrow.State.Disputed && tier == IJobEscrow.Tier.Ruled);
        require(deadline == 0x89abcdef);
    }

    function test_read__empty_slot__is_none() external view {
        (bytes27 hash, IJobEscrow.State state, IJobEscrow.Tier tier, uint256 deadline) = slots.read(0);

        require(hash == 0 && state == IJobEscrow.State.None && tier == IJobEscrow.Tier.Unverified && deadline == 0);
    }

    function test_read__single_bits_of_state_and_tier__stay_apart() external view {
        for (uint8 i = 0; i < 4; ++i) {
            (, IJobEscrow.State state, IJobEscrow.Tier tier,) = slots.read(bytes32(uint256(1) << (32 + i)));
            require(uint8(state) == 1 << i && uint8(tier) == 0);
        }
        for (uint8 i = 0; i < 3; ++i) {
            (, IJobEscrow.State state, IJobEscrow.Tier tier,) = slots.read(bytes32(uint256(1) << (36 + i)));
            require(uint8(tier) == 1 << i && uint8(state) == 0);
        }
    }

    function test_read__tier_of_no_meaning__panics() external view {
        (bool ok, bytes memory answer) = address(slots).staticcall(abi.encodeCall(slots.read, (bytes32(uint256(8) << 36))));

        require(!ok && keccak256(answer) == keccak256(abi.encodeWithSignature("Panic(uint256)", 0x21)));
    }

    function test_moved__known_slot__keeps_the_hash_only() external view {
        bytes32 slot = slots.moved(PACKED, IJobEscrow.State.Accepted, IJobEscrow.Tier.Statistical, 0x12345678);

        require(slot == bytes32(HASH) | bytes32(uint256(0x2212345678)));
    }

    function test_hashes__all_words_distinct__are_those_of_the_abi_encoding() external view {
        IJobEscrow.Terms memory terms = IJobEscrow.Terms({
            requester: address(0xb1),
            payer: address(0xb2),
            oracle: address(0xb3),
            validator: address(0xb4),
            arbiter: address(0xb5),
            token: address(0xb6),
            budget: 0xb7,
            validatorFee: 0xb8,
            bond: 0xb9,
            acceptBy: 0xba,
            deliverBy: 0xbb,
            challengePeriod: 0xbc,
            spec: bytes32(uint256(0xbd)),
            sealTo: bytes32(uint256(0xbe))
        });
        require(slots.hash(terms) == bytes27(keccak256(abi.encode(terms))));
        require(slots.structHash(terms, "type") == keccak256(abi.encode(bytes32("type"), terms)));
        require(slots.hashWithSalt(terms, "salt") == keccak256(abi.encode(terms, bytes32("salt"))));
        bytes27 withOracle = slots.hashWithOracle(terms, address(0xff));
        bytes27 withBudget = slots.hashWithBudget(terms, 0xfe);
        terms.oracle = address(0xff);
        require(withOracle == bytes27(keccak256(abi.encode(terms))));
        (terms.oracle, terms.budget) = (address(0xb3), 0xfe);
        require(withBudget == bytes27(keccak256(abi.encode(terms))));
    }
}
