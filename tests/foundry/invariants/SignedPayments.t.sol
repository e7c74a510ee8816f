// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {SignedToken} from "../../../contracts/test/Tokens.sol";
import {World} from "../World.sol";
import {vm} from "../Vm.sol";

/// @dev What Handler.sol does not call: {createJobWithPermit}, {createJobWithAuthorization} and {register}, mixed with
/// plain jobs, refunds and withdrawals in the same token. It knows what each call must do; a surprise reverts, and
/// fails the run.
contract SignedPaymentsHandler is World {
    uint256 private constant SUPPLY = type(uint128).max;
    bytes32 private constant PERMIT = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    SignedToken public signedToken = new SignedToken();
    IJobEscrow.Terms[] private jobs;
    bool[] private ended;
    mapping(bytes32 nonce => bool) private used;
    uint256 private allowance;
    uint256 public held;
    uint256 public owed;
    uint256 public donated;
    uint256 public withdrawn;
    uint256 public staked;
    mapping(bytes4 selector => uint256) public succeeded;
    mapping(bytes4 selector => uint256) public refused;

    constructor() payable {
        signedToken.mint(vm.addr(REQUESTER), SUPPLY);
        signedToken.mint(vm.addr(STRANGER), SUPPLY);
    }

    // ------------------------------------------------------------------------------------------- creating

    /// @dev The allowance is what decides, however the permit ends: a permit that fails is ignored.
    function createWithPermit(uint256 seed) external {
        IJobEscrow.Terms memory terms = _terms(seed);
        address caller = seed % 11 == 0 ? vm.addr(STRANGER) : terms.requester;
        (bytes memory data, bool permitted) = _permit(terms, seed >> 8);
        uint256 granted = permitted ? terms.budget : allowance;
        bool good = caller == terms.requester && terms.payer == caller && terms.budget != 0 && granted >= terms.budget;
        if (!_make(address(escrow), caller, 0, data, good)) return;
        allowance = granted - terms.budget;
        _created(terms);
    }

    /// @dev An authorisation pays once, for these terms, while it is valid; anyone hands it in.
    function createWithAuthorization(uint256 seed) external {
        IJobEscrow.Terms memory terms = _terms(seed);
        IJobEscrow.Authorization memory permission;
        permission.salt = bytes32((seed >> 8) % 4);
        permission.validAfter = block.timestamp - ((seed >> 16) % 8 == 0 ? 0 : 1);
        permission.validBefore = block.timestamp + ((seed >> 24) % 8 == 0 ? 0 : 1);
        bytes32 nonce = keccak256(abi.encode(terms, permission.salt));
        bool mine = (seed >> 32) % 8 != 0;
        (permission.v, permission.r, permission.s) =
            _sign(mine ? REQUESTER : STRANGER, _receive(terms, permission, nonce));
        bool good = terms.payer == terms.requester && terms.budget != 0 && mine && !used[nonce];
        good = good && permission.validAfter < block.timestamp && block.timestamp < permission.validBefore;
        bytes memory data = abi.encodeCall(escrow.createJobWithAuthorization, (terms, permission));
        if (!_make(address(escrow), vm.addr(REQUESTER + (seed >> 40) % ACTORS), 0, data, good)) return;
        used[nonce] = true;
        _created(terms);
    }

    function approve(uint256 seed) external {
        allowance = seed % 1e9;
        vm.prank(vm.addr(REQUESTER));
        signedToken.approve(address(escrow), allowance);
    }

    // ------------------------------------------------------------------------------------- ending, taking out

    function cancel(uint256 seed) external {
        if (jobs.length == 0) return;
        uint256 index = seed % jobs.length;
        address caller = seed % 7 == 0 ? vm.addr(STRANGER) : vm.addr(REQUESTER);
        bytes memory data = abi.encodeCall(escrow.cancel, (index + 1, jobs[index]));
        bool good = !ended[index] && caller == jobs[index].requester;
        if (_make(address(escrow), caller, 0, data, good)) _ended(index);
    }

    function claimRefund(uint256 seed) external {
        if (jobs.length == 0) return;
        uint256 index = seed % jobs.length;
        bytes memory data = abi.encodeCall(escrow.claimRefund, (index + 1, jobs[index]));
        bool good = !ended[index] && block.timestamp > jobs[index].acceptBy;
        if (_make(address(escrow), vm.addr(STRANGER), 0, data, good)) _ended(index);
    }

    function withdraw(uint256 seed) external {
        address caller = seed % 5 == 0 ? vm.addr(STRANGER) : vm.addr(REQUESTER);
        bytes memory data = abi.encodeCall(escrow.withdraw, (address(signedToken), vm.addr(ORACLE)));
        if (!_make(address(escrow), caller, 0, data, caller == vm.addr(REQUESTER) && owed != 0)) return;
        (withdrawn, owed) = (withdrawn + owed, 0);
    }

    function donate(uint256 seed) external {
        vm.prank(vm.addr(STRANGER));
        signedToken.transfer(address(escrow), seed % 1e6);
        donated += seed % 1e6;
    }

    function passTime(uint256 seed) external {
        vm.warp(block.timestamp + seed % 400);
    }

    // ---------------------------------------------------------------------------------------- registering

    function register(uint256 seed) external {
        address oracle = vm.addr(REQUESTER + (seed >> 8) % ACTORS);
        (bytes32 key, bytes32 profile) = (seed % 7 == 0 ? bytes32(0) : bytes32(seed), keccak256(abi.encode(seed)));
        uint256 value = (seed >> 16) % 3;
        (uint256 before,) = registry.stakeOf(oracle);
        bytes memory data = abi.encodeCall(registry.register, (key, profile));
        if (!_make(address(registry), oracle, value, data, key != 0)) return;
        staked += value;
        (uint256 stake,) = registry.stakeOf(oracle);
        require(stake == before + value, "stake");
        require(registry.sealingKeyOf(oracle) == key && registry.profileOf(oracle) == profile, "key or profile");
    }

    // --------------------------------------------------------------------------------- what the tests look at

    function look() external view {
        require(escrow.jobCount() == jobs.length, "job count");
        require(escrow.creditOf(vm.addr(REQUESTER), address(signedToken)) == owed, "credit");
        require(signedToken.allowance(vm.addr(REQUESTER), address(escrow)) == allowance, "allowance");
        for (uint256 i = 0; i < jobs.length; ++i) {
            require(escrow.matches(i + 1, jobs[i]), "terms");
            require((escrow.stateOf(i + 1) == IJobEscrow.State.Created) == !ended[i], "state");
        }
    }

    // -------------------------------------------------------------------------------------------- parts

    /// @dev Few budgets and times, so that equal terms meet again and authorisations are replayed.
    function _terms(uint256 seed) private view returns (IJobEscrow.Terms memory terms) {
        terms.requester = vm.addr(REQUESTER);
        terms.payer = seed % 13 == 0 ? vm.addr(SPONSOR) : terms.requester;
        terms.oracle = vm.addr(ORACLE);
        terms.token = address(signedToken);
        terms.budget = uint96((seed >> 200) % 4 * 1_000_003);
        terms.acceptBy = uint32(block.timestamp / 600 * 600 + 600);
        terms.deliverBy = terms.acceptBy;
        terms.spec = "spec";
        terms.sealTo = "key";
    }

    function _permit(IJobEscrow.Terms memory terms, uint256 seed) private view returns (bytes memory, bool) {
        address owner = vm.addr(REQUESTER);
        uint256 nonce = signedToken.nonces(owner) + (seed % 8 == 0 ? 1 : 0);
        uint256 deadline = block.timestamp - (seed >> 8) % 2;
        bytes32 inner =
            keccak256(abi.encode(PERMIT, owner, address(escrow), uint256(terms.budget), nonce, deadline));
        (uint8 v, bytes32 r, bytes32 s) = _sign(REQUESTER, inner);
        bytes memory data = abi.encodeCall(escrow.createJobWithPermit, (terms, deadline, v, r, s));
        return (data, seed % 8 != 0 && deadline == block.timestamp);
    }

    function _receive(
        IJobEscrow.Terms memory terms,
        IJobEscrow.Authorization memory permission,
        bytes32 nonce
    ) private view returns (bytes32) {
        uint256 amount = terms.budget;
        return keccak256(
            abi.encode(
                RECEIVE, terms.payer, address(escrow), amount, permission.validAfter, permission.validBefore, nonce
            )
        );
    }

    function _sign(uint256 key, bytes32 inner) private view returns (uint8, bytes32, bytes32) {
        return vm.sign(key, keccak256(abi.encodePacked(hex"1901", signedToken.DOMAIN_SEPARATOR(), inner)));
    }

    function _created(IJobEscrow.Terms memory terms) private {
        jobs.push(terms);
        ended.push(false);
        held += terms.budget;
    }

    function _ended(uint256 index) private {
        ended[index] = true;
        held -= jobs[index].budget;
        owed += jobs[index].budget;
    }

    function _make(
        address target,
        address caller,
        uint256 value,
        bytes memory data,
        bool expected
    ) private returns (bool ok) {
        vm.deal(caller, value);
        vm.prank(caller);
        (ok,) = target.call{value: value}(data);
        require(ok || !expected, "refused what must be allowed");
        require(!ok || expected, "allowed what must be refused");
        if (ok) succeeded[bytes4(data)]++;
        else refused[bytes4(data)]++;
    }
}

/// @dev README.md, invariants 1 to 3, for payments that were signed for.
contract SignedPaymentsTest {
    SignedPaymentsHandler private handler;

    function setUp() public {
        handler = new SignedPaymentsHandler();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_signed_payments__balance__is_what_is_held_owed_and_given() public view {
        uint256 balance = handler.signedToken().balanceOf(address(handler.escrow()));
        require(balance == handler.held() + handler.owed() + handler.donated(), "escrow");
        require(address(handler.registry()).balance == handler.staked(), "registry");
    }

    function afterInvariant() public view {
        handler.look();
    }

    function test_handler__on_a_fixed_walk__makes_every_call_and_meets_every_refusal() public {
        bytes4[9] memory steps = [
            handler.createWithPermit.selector,
            handler.createWithAuthorization.selector,
            handler.approve.selector,
            handler.cancel.selector,
            handler.claimRefund.selector,
            handler.withdraw.selector,
            handler.donate.selector,
            handler.passTime.selector,
            handler.register.selector
        ];
        for (uint256 i = 0; i < 1_000; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            (bool ok,) = address(handler).call(abi.encodeWithSelector(steps[i % 9], seed));
            require(ok, "a surprise");
        }
        bytes4[6] memory calls = [
            IJobEscrow.createJobWithPermit.selector,
            IJobEscrow.createJobWithAuthorization.selector,
            IJobEscrow.cancel.selector,
            IJobEscrow.claimRefund.selector,
            IJobEscrow.withdraw.selector,
            bytes4(keccak256("register(bytes32,bytes32)"))
        ];
        for (uint256 i = 0; i < 6; ++i) {
            require(handler.succeeded(calls[i]) != 0, "a call never made");
            require(handler.refused(calls[i]) != 0, "a call never refused");
        }
        invariant_signed_payments__balance__is_what_is_held_owed_and_given();
        handler.look();
    }
}
