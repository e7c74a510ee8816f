// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";
import {Handler} from "./Handler.sol";
import {vm} from "./Vm.sol";

/// @dev Random sequences of calls against the whole system. The numbers are those of README.md.
contract InvariantsTest {
    Handler internal handler;

    function setUp() public {
        handler = new Handler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev Ways towards delivery twice: most jobs should get there.
    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[31] memory all = [
            handler.passTime.selector,
            handler.passToDeadline.selector,
            handler.donate.selector,
            handler.create.selector,
            handler.create.selector,
            handler.createSeveral.selector,
            handler.createFor.selector,
            handler.cancel.selector,
            handler.accept.selector,
            handler.accept.selector,
            handler.reject.selector,
            handler.fail.selector,
            handler.claimRefund.selector,
            handler.promote.selector,
            handler.report.selector,
            handler.deliver.selector,
            handler.deliver.selector,
            handler.deliverAttested.selector,
            handler.deliverBatch.selector,
            handler.validate.selector,
            handler.validateBatch.selector,
            handler.dispute.selector,
            handler.dispute.selector,
            handler.submitEvidence.selector,
            handler.rule.selector,
            handler.settle.selector,
            handler.withdraw.selector,
            handler.withdrawFor.selector,
            handler.addStake.selector,
            handler.requestUnstake.selector,
            handler.unstake.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        targets[0].selectors = new bytes4[](all.length + 2);
        for (uint256 i = 0; i < all.length; ++i) targets[0].selectors[i] = all[i];
        targets[0].selectors[all.length] = handler.trespass.selector;
        targets[0].selectors[all.length + 1] = handler.transferResult.selector;
    }

    /// @dev 1, 2: the contracts hold exactly what they owe, and what was forced on them.
    function invariant_solvency() public view {
        _solvent(address(0), address(handler.escrow()).balance);
        address token = address(handler.token());
        _solvent(token, handler.token().balanceOf(address(handler.escrow())));
        uint256 stakes = address(handler.registry()).balance;
        require(stakes == handler.staked() + handler.donatedToRegistry(), "registry");
    }

    function _solvent(address asset, uint256 balance) private view {
        require(balance == handler.held(asset) + handler.owed(asset) + handler.donated(asset), "escrow");
    }

    /// @dev 3 to 9 once more for all jobs and accounts together, then 10: everything can be closed and taken out.
    function afterInvariant() public {
        handler.lookAtAll();
        handler.closeEverything();
    }
}

/// @dev The handler must get everywhere: invariants over calls that are all refused would prove nothing.
contract ReachTest {
    function test_handler__on_a_fixed_walk__reaches_every_state_and_makes_every_call() public {
        Handler handler = new Handler();
        for (uint256 i = 0; i < 4_000; ++i) _step(handler, uint256(keccak256(abi.encode(i))));
        IJobEscrow.State[8] memory states = [
            IJobEscrow.State.Approved,
            IJobEscrow.State.Completed,
            IJobEscrow.State.Disputed,
            IJobEscrow.State.Settled,
            IJobEscrow.State.Rejected,
            IJobEscrow.State.Expired,
            IJobEscrow.State.Failed,
            IJobEscrow.State.Cancelled
        ];
        for (uint256 i = 0; i < states.length; ++i) require(handler.reached(states[i]) > 0, "a state never reached");
        bytes4[] memory calls = _calls();
        for (uint256 i = 0; i < calls.length; ++i) {
            require(handler.succeeded(calls[i]) > 0, "a call never made");
            require(handler.refused(calls[i]) > 0, "a call never refused");
        }
        handler.lookAtAll();
        handler.closeEverything();
    }

    function _step(Handler handler, uint256 seed) private {
        bytes4[27] memory two = [
            handler.create.selector,
            handler.create.selector,
            handler.createSeveral.selector,
            handler.createFor.selector,
            handler.cancel.selector,
            handler.accept.selector,
            handler.accept.selector,
            handler.accept.selector,
            handler.reject.selector,
            handler.fail.selector,
            handler.claimRefund.selector,
            handler.promote.selector,
            handler.promote.selector,
            handler.deliver.selector,
            handler.deliver.selector,
            handler.deliver.selector,
            handler.deliverAttested.selector,
            handler.deliverBatch.selector,
            handler.validate.selector,
            handler.validateBatch.selector,
            handler.dispute.selector,
            handler.dispute.selector,
            handler.dispute.selector,
            handler.submitEvidence.selector,
            handler.rule.selector,
            handler.rule.selector,
            handler.settle.selector
        ];
        bytes4[9] memory one = [
            handler.passTime.selector,
            handler.report.selector,
            handler.withdraw.selector,
            handler.withdrawFor.selector,
            handler.addStake.selector,
            handler.requestUnstake.selector,
            handler.unstake.selector,
            handler.trespass.selector,
            handler.transferResult.selector
        ];
        uint256 which = seed % 40;
        uint256 drawn = uint256(keccak256(abi.encode(seed)));
        bytes memory data = which < 27
            ? abi.encodeWithSelector(two[which], drawn, uint256(keccak256(abi.encode(drawn))))
            : abi.encodeWithSelector(one[which % 9], drawn);
        if (which == 39) data = abi.encodeCall(handler.passToDeadline, (drawn));
        (bool ok, bytes memory answer) = address(handler).call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    function _calls() private pure returns (bytes4[] memory calls) {
        bytes4[22] memory all = [
            IJobEscrow.createJob.selector,
            IJobEscrow.createJobs.selector,
            IJobEscrow.createJobFor.selector,
            IJobEscrow.cancel.selector,
            IJobEscrow.accept.selector,
            IJobEscrow.reject.selector,
            IJobEscrow.fail.selector,
            IJobEscrow.claimRefund.selector,
            IJobEscrow.promote.selector,
            IJobEscrow.report.selector,
            IJobEscrow.deliver.selector,
            IJobEscrow.deliverAttested.selector,
            IJobEscrow.deliverBatch.selector,
            IJobEscrow.validate.selector,
            IJobEscrow.validateBatch.selector,
            IJobEscrow.dispute.selector,
            IJobEscrow.submitEvidence.selector,
            IJobEscrow.rule.selector,
            IJobEscrow.settle.selector,
            IJobEscrow.withdraw.selector,
            IJobEscrow.withdrawFor.selector,
            bytes4(keccak256("unstake(address)"))
        ];
        calls = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) calls[i] = all[i];
    }
}
