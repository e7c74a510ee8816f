// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The cheatcodes of Foundry used here (https://getfoundry.sh/reference/cheatcodes/overview). Declared by hand:
/// the npm registry has no official release of forge-std.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function assume(bool condition) external pure;
    function deal(address account, uint256 balance) external;
    function deployCode(string calldata artifact) external returns (address);
    function envOr(string calldata name, string calldata otherwise) external view returns (string memory);
    function prank(address sender) external;
    function revertToState(uint256 id) external returns (bool);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function snapshotState() external returns (uint256 id);
    function warp(uint256 timestamp) external;
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// @dev Deploys one of the contracts, as the caller: the bytes that ship or, under the profile `legacy`, what that
/// pipeline makes of the sources.
function deployed(string memory name) returns (address payable) {
    bool legacy = keccak256(bytes(vm.envOr("FOUNDRY_PROFILE", ""))) == keccak256("legacy");
    string memory compiled = string.concat(name, ".sol:", name);
    string memory shipped = string.concat("oracle/chain/abi/", name, ".json");
    return payable(vm.deployCode(legacy ? compiled : shipped));
}
