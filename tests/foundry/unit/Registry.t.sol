// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleRegistry} from "../../../interfaces/IOracleRegistry.sol";
import {OracleRegistry} from "../../../contracts/OracleRegistry.sol";
import {benchVm} from "./BenchVm.sol";
import {deployed, vm} from "../Vm.sol";

/// @dev The registry with the test as its escrow.
contract RegistryTest {
    uint256 private constant MAX = type(uint128).max;
    uint256 private constant DELAY = 7 days;
    /// @dev Known, for the optimiser takes `block.timestamp` to be the same before and after a warp.
    uint256 private constant NOW = 1_700_000_000;
    address private constant ORACLE = address(0xa1);
    address private constant TO = address(0xa2);
    OracleRegistry private registry = OracleRegistry(deployed("OracleRegistry"));
    bool private refusing;
    uint256 private received;

    constructor() {
        vm.warp(NOW);
    }

    receive() external payable {
        require(!refusing);
        received += msg.value;
    }

    function test_constructor__creator__is_the_escrow() external view {
        require(registry.escrow() == address(this) && registry.UNSTAKING_DELAY() == DELAY);
    }

    // -------------------------------------------------------------------------------------- registering

    function test_register__with_value__publishes_and_stakes() external {
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.OracleRegistered(ORACLE, "key", "profile");
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.StakeAdded(ORACLE, 5, 5);

        _do(5, abi.encodeCall(registry.register, ("key", "profile")));

        require(registry.sealingKeyOf(ORACLE) == "key" && registry.profileOf(ORACLE) == "profile");
        _is(5, 0, 0, 0);
    }

    function test_register__again_without_value__replaces_key_and_profile_only() external {
        _do(5, abi.encodeCall(registry.register, ("key", "profile")));
        benchVm.recordLogs();

        _do(0, abi.encodeCall(registry.register, ("key 2", "")));

        require(benchVm.getRecordedLogs().length == 1, "nothing was staked");
        require(registry.sealingKeyOf(ORACLE) == "key 2" && registry.profileOf(ORACLE) == 0);
        require(registry.sealingKeyOf(TO) == 0 && registry.profileOf(TO) == 0);
        _is(5, 0, 0, 0);
    }

    function test_register__no_key__is_refused() external {
        _refuse(5, abi.encodeCall(registry.register, (0, "profile")), abi.encodeWithSelector(IOracleRegistry.EmptyKey.selector));
    }

    function test_addStake__twice__adds_up() external {
        _stake(5);
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.StakeAdded(ORACLE, 3, 8);
        _stake(3);

        _is(8, 0, 0, 0);
    }

    function test_addStake__nothing__is_refused() external {
        _refuse(0, abi.encodeCall(registry.addStake, ()), abi.encodeWithSelector(IOracleRegistry.ZeroAmount.selector));
    }

    function test_addStake__to_the_brim__fits_and_one_more_does_not() external {
        _refuse(MAX + 1, abi.encodeCall(registry.addStake, ()), _tooLarge(MAX + 1));
        _stake(MAX);
        _is(MAX, 0, 0, 0);
        _refuse(1, abi.encodeCall(registry.addStake, ()), _tooLarge(MAX + 1));
        _refuse(7, abi.encodeCall(registry.register, ("key", "")), _tooLarge(MAX + 7));
    }

    // ----------------------------------------------------------------------------------------- unstaking

    function test_requestUnstake__free_stake__waits_out_the_delay() external {
        _stake(8);
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.UnstakeRequested(ORACLE, 3, NOW + DELAY);

        _do(0, abi.encodeCall(registry.requestUnstake, (3)));

        _is(5, 0, 3, NOW + DELAY);
    }

    function test_requestUnstake__twice__adds_up_and_restarts_the_delay() external {
        _stake(8);
        _do(0, abi.encodeCall(registry.requestUnstake, (3)));
        vm.warp(NOW + 100);

        _do(0, abi.encodeCall(registry.requestUnstake, (4)));

        _is(1, 0, 7, NOW + 100 + DELAY);
    }

    function test_requestUnstake__all_that_is_free__but_not_one_more() external {
        _stake(8);
        registry.lock(ORACLE, 5);

        _refuse(0, abi.encodeCall(registry.requestUnstake, (4)), _insufficient(ORACLE, 3, 4));
        _refuse(0, abi.encodeCall(registry.requestUnstake, (MAX + 2)), _insufficient(ORACLE, 3, MAX + 2));
        _do(0, abi.encodeCall(registry.requestUnstake, (3)));

        _is(5, 5, 3, NOW + DELAY);
    }

    function test_requestUnstake__nothing__is_refused() external {
        _stake(8);
        bytes memory zero = abi.encodeWithSelector(IOracleRegistry.ZeroAmount.selector);
        _refuse(0, abi.encodeCall(registry.requestUnstake, (0)), zero);
    }

    function test_unstake__from_the_second_on__pays_out_once() external {
        _stake(8);
        _do(0, abi.encodeCall(registry.requestUnstake, (3)));
        uint256 availableAt = NOW + DELAY;
        vm.warp(availableAt - 1);
        bytes memory locked = abi.encodeWithSelector(IOracleRegistry.StillLocked.selector, availableAt);
        _refuse(0, abi.encodeCall(registry.unstake, (TO)), locked);
        vm.warp(availableAt);
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.Unstaked(ORACLE, TO, 3);

        require(abi.decode(_do(0, abi.encodeCall(registry.unstake, (TO))), (uint256)) == 3);

        require(TO.balance == 3);
        _is(5, 0, 0, 0);
        bytes memory zero = abi.encodeWithSelector(IOracleRegistry.ZeroAmount.selector);
        _refuse(0, abi.encodeCall(registry.unstake, (TO)), zero);
    }

    function test_unstake__to_nobody_or_to_who_refuses__keeps_it() external {
        _stake(8);
        _do(0, abi.encodeCall(registry.requestUnstake, (3)));
        vm.warp(NOW + DELAY);
        // The registry takes no bare value.
        bytes memory failed = abi.encodeWithSelector(IOracleRegistry.TransferFailed.selector, address(registry), 3);

        bytes memory nobody = abi.encodeWithSelector(IOracleRegistry.InvalidRecipient.selector);
        _refuse(0, abi.encodeCall(registry.unstake, (address(0))), nobody);
        _refuse(0, abi.encodeCall(registry.unstake, (registry.escrow())), nobody);
        _refuse(0, abi.encodeCall(registry.unstake, (address(registry))), failed);

        _is(5, 0, 3, NOW + DELAY);
    }

    // -------------------------------------------------------------------------------------------- bonds

    function test_lock__free_stake__is_locked_and_no_more() external {
        _stake(8);
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.BondLocked(ORACLE, 5);
        registry.lock(ORACLE, 5);
        _is(8, 5, 0, 0);

        bytes memory call_ = abi.encodeCall(registry.lock, (ORACLE, 4));
        _refuseAs(address(this), call_, _insufficient(ORACLE, 3, 4));
        registry.lock(ORACLE, 3);

        _is(8, 8, 0, 0);
    }

    function test_release__locked_bond__is_free_again() external {
        _stake(8);
        registry.lock(ORACLE, 5);
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.BondReleased(ORACLE, 2);

        registry.release(ORACLE, 2);

        _is(8, 3, 0, 0);
    }

    function test_slash__locked_bond__goes_to_the_escrow() external {
        _stake(8);
        registry.lock(ORACLE, 5);
        benchVm.expectEmit(address(registry));
        emit IOracleRegistry.BondSlashed(ORACLE, 2);

        registry.slash(ORACLE, 2);

        require(received == 2);
        _is(6, 3, 0, 0);
    }

    function test_slash__escrow_refuses__changes_nothing() external {
        _stake(8);
        registry.lock(ORACLE, 5);
        refusing = true;
        bytes memory failed = abi.encodeWithSelector(IOracleRegistry.TransferFailed.selector, address(this), 2);

        _refuseAs(address(this), abi.encodeCall(registry.slash, (ORACLE, 2)), failed);

        _is(8, 5, 0, 0);
    }

    function test_bonds__more_than_is_locked__panics() external {
        _stake(8);
        registry.lock(ORACLE, 5);
        bytes memory underflow = abi.encodeWithSignature("Panic(uint256)", 0x11);

        _refuseAs(address(this), abi.encodeCall(registry.release, (ORACLE, 6)), underflow);
        _refuseAs(address(this), abi.encodeCall(registry.slash, (ORACLE, 6)), underflow);
    }

    function test_bonds__anybody_but_the_escrow__is_refused() external {
        _stake(8);
        registry.lock(ORACLE, 5);
        bytes memory only = abi.encodeWithSelector(IOracleRegistry.OnlyEscrow.selector, ORACLE);

        _refuseAs(ORACLE, abi.encodeCall(registry.lock, (ORACLE, 1)), only);
        _refuseAs(ORACLE, abi.encodeCall(registry.release, (ORACLE, 1)), only);
        _refuseAs(ORACLE, abi.encodeCall(registry.slash, (ORACLE, 1)), only);
        _is(8, 5, 0, 0);
    }

    // -------------------------------------------------------------------------------------------- parts

    function _stake(uint256 amount) private {
        _do(amount, abi.encodeCall(registry.addStake, ()));
    }

    function _do(uint256 value, bytes memory data) private returns (bytes memory) {
        vm.deal(ORACLE, value);
        vm.prank(ORACLE);
        (bool ok, bytes memory answer) = address(registry).call{value: value}(data);
        require(ok, "was refused");
        return answer;
    }

    function _refuse(uint256 value, bytes memory data, bytes memory expected) private {
        vm.deal(ORACLE, value);
        vm.prank(ORACLE);
        (bool ok, bytes memory answer) = address(registry).call{value: value}(data);
        require(!ok && keccak256(answer) == keccak256(expected), "not refused for this reason");
    }

    function _refuseAs(address caller, bytes memory data, bytes memory expected) private {
        vm.prank(caller);
        (bool ok, bytes memory answer) = address(registry).call(data);
        require(!ok && keccak256(answer) == keccak256(expected), "not refused for this reason");
    }

    function _is(uint256 stake, uint256 locked, uint256 leaving, uint256 availableAt) private view {
        (uint256 stake_, uint256 locked_) = registry.stakeOf(ORACLE);
        require(stake_ == stake && locked_ == locked, "stake");
        (uint256 leaving_, uint256 availableAt_) = registry.unstakingOf(ORACLE);
        require(leaving_ == leaving && availableAt_ == availableAt, "unstaking");
        require(address(registry).balance == stake + leaving, "balance");
    }

    function _insufficient(address oracle, uint256 free, uint256 needed) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOracleRegistry.InsufficientStake.selector, oracle, free, needed);
    }

    function _tooLarge(uint256 stake) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IOracleRegistry.StakeTooLarge.selector, stake);
    }
}
