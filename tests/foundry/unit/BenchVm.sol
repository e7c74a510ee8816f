// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}

/// @dev Foundry's cheatcodes about events (https://getfoundry.sh/reference/cheatcodes/overview).
interface BenchVm {
    /// @dev The event emitted next in the test must come next from `emitter`, with all topics and data.
    function expectEmit(address emitter) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory logs);
}

BenchVm constant benchVm = BenchVm(address(uint160(uint256(keccak256("hevm cheat code")))));
