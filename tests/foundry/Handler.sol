// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../interfaces/IJobEscrow.sol";
import {World} from "./World.sol";
import {vm} from "./Vm.sol";

/// @dev Makes calls of every kind, good and bad, and knows from the documentation what each must do: whether it is
/// refused, who is credited what to the wei, and what the job looks like afterwards. Any surprise reverts, which
/// fails the run (fail_on_revert). See README.md for the list of invariants.
contract Handler is World {
    struct Job {
        IJobEscrow.Terms terms;
        IJobEscrow.State state;
        IJobEscrow.Tier tier;
        uint256 deadline;
        uint96 charge;
        bool rejected;
        IJobEscrow.Tier rejectedBy;
        IJobEscrow.Party disputedBy;
        bytes32 result;
        address owner; // of the result token; zero before delivery
        bool bonded;
    }

    struct Stake {
        uint256 stake;
        uint256 locked;
        uint256 leaving;
        uint256 availableAt;
    }

    uint256 private constant SHARE = 10_000;
    uint256 private constant RULING_PERIOD = 14 days;
    uint256 private constant NOTICE = 1 hours;
    uint256 private constant WINDOW = 16;
    uint256 private constant CREATED = 1 << uint8(IJobEscrow.State.Created);
    uint256 private constant ACCEPTED = 1 << uint8(IJobEscrow.State.Accepted);
    uint256 private constant TAKEN = ACCEPTED | 1 << uint8(IJobEscrow.State.Approved);
    uint256 private constant COMPLETED = 1 << uint8(IJobEscrow.State.Completed);
    uint256 private constant DISPUTED = 1 << uint8(IJobEscrow.State.Disputed);

    Job[] private jobs; // job id is the index + 1
    mapping(address asset => mapping(address account => uint256)) public credited;
    mapping(address oracle => Stake) private stakes;
    mapping(address asset => uint256) public held; // budgets and dispute bonds of running jobs
    mapping(address asset => uint256) public owed; // all credits
    mapping(address asset => uint256) public donated;
    uint256 public donatedToRegistry;
    uint256 public staked; // stakes and stakes on their way out
    mapping(address account => uint256) private nonces;
    bool private inBatch; // the contracts are ahead of the model
    mapping(IJobEscrow.State state => uint256) public reached; // endings, and Completed, Disputed, Approved
    mapping(bytes4 selector => uint256) public succeeded;
    mapping(bytes4 selector => uint256) public refused;

    constructor() payable {
        for (uint256 i = 0; i < 2; ++i) _register(vm.addr(ORACLE + i), 1e20);
    }

    // ------------------------------------------------------------------------------------------- time, gifts

    function passTime(uint256 seed) external {
        uint256[8] memory jumps = [uint256(1), 1, 60, 60, 10 minutes, 1 hours, 12 hours, 15 days];
        vm.warp(block.timestamp + (seed >> 8) % jumps[seed % 8] + 1);
    }

    /// @dev To the last second of a job's phase, or the first one after it.
    function passToDeadline(uint256 seed) external {
        if (jobs.length == 0) return;
        uint256 deadline = jobs[seed % jobs.length].deadline + ((seed >> 128) & 1);
        if (deadline > block.timestamp) vm.warp(deadline);
    }

    function donate(uint256 seed) external {
        uint256 amount = seed % 1e6;
        if (seed & 1 == 0) {
            vm.deal(address(escrow), address(escrow).balance + amount);
            donated[NATIVE] += amount;
        } else if (seed & 2 == 0) {
            vm.deal(address(registry), address(registry).balance + amount);
            donatedToRegistry += amount;
        } else {
            vm.prank(_actor(seed));
            token.transfer(address(escrow), amount);
            donated[address(token)] += amount;
        }
    }

    // -------------------------------------------------------------------------------------------- creating

    function create(uint256 seed, uint256 fault) external {
        IJobEscrow.Terms memory terms = _draw(seed, fault);
        address caller = _oneOf(terms.requester, seed >> 3);
        uint256 value = _priceOf(terms, seed >> 9);
        bool good = _makesSense(terms) && caller == terms.requester && caller == terms.payer && _pays(terms, value);
        if (_call(caller, value, abi.encodeCall(escrow.createJob, (terms)), good)) _created(terms);
    }

    function createSeveral(uint256 seed, uint256 fault) external {
        IJobEscrow.Terms[] memory several = new IJobEscrow.Terms[](seed % 4);
        address caller = vm.addr(REQUESTER);
        uint256 value = 0;
        bool good = true;
        for (uint256 i = 0; i < several.length; ++i) {
            several[i] = _draw(seed >> (i + 2), i == 1 ? fault : 15);
            if (i > 0 && fault % 16 > 2) several[i].token = several[0].token;
            good = good && _makesSense(several[i]) && several[i].token == several[0].token;
            good = good && several[i].requester == caller && several[i].payer == caller;
            if (several[0].token == NATIVE) value += several[i].budget;
        }
        if (!_call(caller, value, abi.encodeCall(escrow.createJobs, (several)), good)) return;
        for (uint256 i = 0; i < several.length; ++i) _created(several[i]);
    }

    function createFor(uint256 seed, uint256 fault) external {
        IJobEscrow.Terms memory terms = _draw(seed, fault);
        terms.payer = vm.addr(SPONSOR);
        address caller = _oneOf(terms.payer, seed >> 3);
        uint256 nonce = nonces[terms.requester] + (seed % 13 == 0 ? 1 : 0);
        uint256 key = seed % 11 == 0 ? STRANGER : REQUESTER;
        bytes32 termsType = keccak256(
            "Terms(address requester,address payer,address oracle,address validator,address arbiter,address token,uint96 budget,uint96 validatorFee,uint96 bond,uint32 acceptBy,uint32 deliverBy,uint32 challengePeriod,bytes32 spec,bytes32 sealTo)"
        );
        bytes32 orderType = keccak256(
            "CreateJob(Terms terms,uint256 nonce)Terms(address requester,address payer,address oracle,address validator,address arbiter,address token,uint96 budget,uint96 validatorFee,uint96 bond,uint32 acceptBy,uint32 deliverBy,uint32 challengePeriod,bytes32 spec,bytes32 sealTo)"
        );
        bytes memory signature =
            signed(key, keccak256(abi.encode(orderType, keccak256(abi.encode(termsType, terms)), nonce)));
        uint256 value = _priceOf(terms, seed >> 9);
        bool good = _makesSense(terms) && caller == terms.payer && _pays(terms, value);
        good = good && nonce == nonces[terms.requester] && vm.addr(key) == terms.requester;
        if (!_call(caller, value, abi.encodeCall(escrow.createJobFor, (terms, nonce, signature)), good)) return;
        nonces[terms.requester]++;
        _created(terms);
    }

    // -------------------------------------------------------------------------------------- before delivery

    function cancel(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, CREATED);
        address caller = _oneOf(terms.requester, seed >> 3);
        bool good = same && _in(id, IJobEscrow.State.Created) && caller == terms.requester;
        if (!_call(caller, 0, abi.encodeCall(escrow.cancel, (id, terms)), good)) return;
        _refunded(id, IJobEscrow.State.Cancelled);
    }

    function accept(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, CREATED);
        address caller = _oneOf(terms.oracle == address(0) ? vm.addr(ORACLE) : terms.oracle, seed >> 3);
        bool good = same && _in(id, IJobEscrow.State.Created) && _inTime(id);
        if (terms.oracle == address(0)) good = good && caller != terms.validator && caller != terms.arbiter;
        else good = good && caller == terms.oracle;
        good = good && (terms.bond == 0 || _free(caller) >= terms.bond);
        if (!_call(caller, 0, abi.encodeCall(escrow.accept, (id, terms)), good)) return;
        Job storage job = _job(id);
        (job.terms.oracle, job.state, job.deadline) = (caller, IJobEscrow.State.Accepted, terms.deliverBy);
        _lock(job);
        _look(id);
    }

    function reject(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, CREATED);
        address caller = _oneOf(terms.oracle, seed >> 3);
        bool good = same && _in(id, IJobEscrow.State.Created) && caller == terms.oracle;
        if (!_call(caller, 0, abi.encodeCall(escrow.reject, (id, terms, "why")), good)) return;
        _refunded(id, IJobEscrow.State.Rejected);
    }

    function fail(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, TAKEN);
        address caller = _oneOf(terms.oracle, seed >> 3);
        bool good = same && _isTaken(id) && _inTime(id) && caller == terms.oracle;
        if (!_call(caller, 0, abi.encodeCall(escrow.fail, (id, terms, "why")), good)) return;
        _release(_job(id));
        _refunded(id, IJobEscrow.State.Failed);
    }

    function claimRefund(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, CREATED | TAKEN);
        bool good = same && _isDeliverable(id) && !_inTime(id);
        if (!_call(_actor(seed >> 3), 0, abi.encodeCall(escrow.claimRefund, (id, terms)), good)) return;
        _slash(_job(id), terms.bond);
        _refunded(id, IJobEscrow.State.Expired);
    }

    function promote(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, ACCEPTED);
        address caller = _oneOf(terms.requester, seed >> 3);
        uint96 extra = uint96((seed >> 16) % 3 * 1e9);
        uint256 value = terms.token == NATIVE ? extra : 0;
        if (seed % 17 == 0) value += 1;
        bool good = same && _in(id, IJobEscrow.State.Accepted) && caller == terms.requester;
        good = good && block.timestamp + NOTICE <= _job(id).deadline && (extra == 0 || terms.payer == caller);
        good = good && seed % 17 != 0;
        if (!_call(caller, value, abi.encodeCall(escrow.promote, (id, terms, extra, "evidence")), good)) return;
        Job storage job = _job(id);
        job.terms.budget += extra;
        job.state = IJobEscrow.State.Approved;
        held[terms.token] += extra;
        reached[IJobEscrow.State.Approved]++;
        _look(id);
    }

    function report(uint256 seed) external {
        uint256[] memory ids = new uint256[](1);
        IJobEscrow.State[] memory states = new IJobEscrow.State[](1);
        bytes32[] memory evidence = new bytes32[](seed % 29 == 0 ? 2 : 1);
        ids[0] = seed % (jobs.length + 1);
        states[0] = IJobEscrow.State((seed >> 16) % 16);
        bool good = ids[0] != 0 && _isDeliverable(ids[0]) && evidence.length == 1;
        good = good && states[0] >= IJobEscrow.State.Simulated && states[0] <= IJobEscrow.State.Running;
        if (_call(_actor(seed >> 3), 0, abi.encodeCall(escrow.report, (ids, states, evidence)), good)) _look(ids[0]);
    }

    // ----------------------------------------------------------------------------- delivering and judging

    function deliver(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, CREATED | TAKEN);
        address caller = _oneOf(terms.oracle, seed >> 3);
        (uint96 charge, bytes32 result) = _bill(terms, seed >> 9);
        bool good = same && _canDeliver(id, caller, charge, result) && _hasBondFor(id, caller, false);
        if (!_call(caller, 0, abi.encodeCall(escrow.deliver, (id, terms, charge, result)), good)) return;
        _delivered(id, charge, result);
    }

    function deliverAttested(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, CREATED | TAKEN);
        address caller = _oneOf(terms.oracle, seed >> 3);
        (uint96 charge, bytes32 result) = _bill(terms, seed >> 9);
        (IJobEscrow.Attestation memory verdict, bool valid) = _verdict(id, terms, result, seed >> 17);
        bool good = same && _canDeliver(id, caller, charge, result) && valid && verdict.accepted;
        bytes memory data = abi.encodeCall(escrow.deliverAttested, (id, terms, charge, result, verdict));
        if (_call(caller, 0, data, good)) _deliveredAttested(id, charge, result, verdict.method);
    }

    /// @dev Up to three entries, some perhaps of the same job, some spoiled, some wrong.
    function deliverBatch(uint256 seed, uint256 fault) external {
        IJobEscrow.BatchedDelivery[] memory batch = new IJobEscrow.BatchedDelivery[](seed % 4);
        bool[] memory takes = new bool[](batch.length);
        bool good = true;
        uint256 free = _free(vm.addr(ORACLE));
        for (uint256 i = 0; i < batch.length; ++i) {
            bool valid;
            (takes[i], valid) = _entry(batch[i], seed >> (8 * i), i == 1 ? fault : 15);
            takes[i] = takes[i] && !_isAmong(batch, takes, i);
            if (!takes[i]) continue;
            good = good && valid;
            uint256 bond = _bondOf(batch[i]);
            good = good && free >= bond;
            free -= free >= bond ? bond : 0;
        }
        if (!_call(vm.addr(ORACLE), 0, abi.encodeCall(escrow.deliverBatch, (batch)), good)) return;
        inBatch = true;
        for (uint256 i = 0; i < batch.length; ++i) {
            if (!takes[i]) continue;
            if (!batch[i].attested) _delivered(batch[i].jobId, batch[i].charge, batch[i].result);
            else _deliveredAttested(batch[i].jobId, batch[i].charge, batch[i].result, batch[i].attestation.method);
        }
        inBatch = false;
        for (uint256 i = 0; i < batch.length; ++i) {
            if (takes[i]) _look(batch[i].jobId);
        }
    }

    /// @dev Fills in an entry. `takes`: it is not to be skipped; `good`: it would succeed, if there is stake enough.
    function _entry(
        IJobEscrow.BatchedDelivery memory entry,
        uint256 seed,
        uint256 fault
    ) private view returns (bool takes, bool good) {
        (entry.jobId, entry.terms, takes) = _pick(seed, fault, CREATED | TAKEN);
        (entry.charge, entry.result) = _bill(entry.terms, seed >> 9);
        entry.attested = (seed >> 100) & 1 == 1;
        (entry.attestation, good) = _verdict(entry.jobId, entry.terms, entry.result, seed >> 17);
        good = !entry.attested || (good && entry.attestation.accepted);
        takes = takes && _isDeliverable(entry.jobId) && _inTime(entry.jobId);
        good = good && _canDeliver(entry.jobId, vm.addr(ORACLE), entry.charge, entry.result);
    }

    /// @dev What the delivery will lock.
    function _bondOf(IJobEscrow.BatchedDelivery memory entry) private view returns (uint256) {
        bool locks = !entry.attested && _in(entry.jobId, IJobEscrow.State.Created) && entry.terms.challengePeriod != 0;
        return locks ? entry.terms.bond : 0;
    }

    function validate(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, COMPLETED);
        (IJobEscrow.Attestation memory verdict, bool valid) = _verdict(id, terms, _resultOf(id), seed >> 17);
        bool good = same && _canJudge(id) && valid;
        if (!_call(_actor(seed >> 3), 0, abi.encodeCall(escrow.validate, (id, terms, verdict)), good)) return;
        _judged(id, verdict);
    }

    function validateBatch(uint256 seed, uint256 fault) external {
        IJobEscrow.BatchedVerdict[] memory batch = new IJobEscrow.BatchedVerdict[](2);
        bool good = true;
        bool[] memory takes = new bool[](2);
        for (uint256 i = 0; i < 2; ++i) {
            bool valid;
            (takes[i], valid) = _judgement(batch[i], seed >> (8 * i), i == 1 ? fault : 15);
            if (i == 1 && takes[0] && batch[0].jobId == batch[1].jobId) takes[1] = false;
            if (takes[i]) good = good && valid;
        }
        if (!_call(_actor(seed >> 3), 0, abi.encodeCall(escrow.validateBatch, (batch)), good)) return;
        inBatch = true;
        for (uint256 i = 0; i < 2; ++i) {
            if (takes[i]) _judged(batch[i].jobId, batch[i].attestation);
        }
        inBatch = false;
        for (uint256 i = 0; i < 2; ++i) {
            if (takes[i]) _look(batch[i].jobId);
        }
    }

    /// @dev Fills in a verdict. `takes`: it is not to be skipped; `good`: its signature is right.
    function _judgement(
        IJobEscrow.BatchedVerdict memory entry,
        uint256 seed,
        uint256 fault
    ) private view returns (bool takes, bool good) {
        (entry.jobId, entry.terms, takes) = _pick(seed, fault, COMPLETED);
        (entry.attestation, good) = _verdict(entry.jobId, entry.terms, _resultOf(entry.jobId), seed >> 17);
        takes = takes && _canJudge(entry.jobId);
    }

    function dispute(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, COMPLETED);
        address caller = _oneOf(seed & 1 == 0 ? terms.requester : terms.oracle, seed >> 3);
        uint256 value = seed % 19 == 0 ? uint256(terms.bond) + 1 : terms.bond;
        bool good = same && _in(id, IJobEscrow.State.Completed) && _inTime(id) && terms.arbiter != address(0);
        good = good && value == terms.bond && (caller == terms.requester || caller == terms.oracle);
        if (!_call(caller, value, abi.encodeCall(escrow.dispute, (id, terms, "evidence")), good)) return;
        Job storage job = _job(id);
        job.disputedBy = caller == terms.requester ? IJobEscrow.Party.Requester : IJobEscrow.Party.Oracle;
        job.state = IJobEscrow.State.Disputed;
        job.deadline = block.timestamp + RULING_PERIOD;
        held[NATIVE] += terms.bond;
        reached[IJobEscrow.State.Disputed]++;
        _look(id);
    }

    function submitEvidence(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, DISPUTED);
        address caller = _actor(seed >> 3);
        bool good = same && _in(id, IJobEscrow.State.Disputed);
        good = good
            && (caller == terms.requester || caller == terms.payer || caller == terms.oracle
                || caller == terms.validator);
        if (_call(caller, 0, abi.encodeCall(escrow.submitEvidence, (id, terms, "evidence")), good)) _look(id);
    }

    function rule(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, DISPUTED);
        address caller = _oneOf(terms.arbiter, seed >> 3);
        uint256 share = (seed >> 16) % 4 == 0 ? (seed >> 18) % 2 * SHARE : (seed >> 18) % (SHARE + 50);
        bool good = same && _in(id, IJobEscrow.State.Disputed) && _inTime(id) && caller == terms.arbiter;
        if (!_call(caller, 0, abi.encodeCall(escrow.rule, (id, terms, share)), good && share <= SHARE)) return;
        Job storage job = _job(id);
        uint96 kept = uint96(uint256(terms.bond) * share / SHARE);
        uint96 toOracle = uint96(uint256(job.charge) * share / SHARE);
        _paid(job, toOracle, job.rejected ? terms.validatorFee : 0);
        held[NATIVE] -= terms.bond; // the disputer's, split like the oracle's
        _credit(NATIVE, terms.oracle, kept);
        bool byOracle = job.disputedBy == IJobEscrow.Party.Oracle;
        _credit(NATIVE, byOracle ? terms.payer : terms.requester, terms.bond - kept);
        _slash(job, terms.bond - kept);
        _release(job);
        _ended(id, share == 0 ? IJobEscrow.State.Rejected : IJobEscrow.State.Settled, IJobEscrow.Tier.Ruled);
    }

    function settle(uint256 seed, uint256 fault) external {
        (uint256 id, IJobEscrow.Terms memory terms, bool same) = _pick(seed, fault, COMPLETED | DISPUTED);
        bool delivered = same && (_in(id, IJobEscrow.State.Completed) || _in(id, IJobEscrow.State.Disputed));
        bytes memory data = abi.encodeCall(escrow.settle, (id, terms));
        if (!_call(_actor(seed >> 3), 0, data, delivered && !_inTime(id))) return;
        Job storage job = _job(id);
        if (job.disputedBy != IJobEscrow.Party.Nobody) {
            held[NATIVE] -= terms.bond;
            bool byOracle = job.disputedBy == IJobEscrow.Party.Oracle;
            _credit(NATIVE, byOracle ? terms.oracle : terms.requester, terms.bond);
        }
        if (job.rejected) {
            _refusedResult(id, job.rejectedBy);
        } else {
            _paid(job, job.charge, 0);
            _release(job);
            _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Unchallenged);
        }
    }

    // --------------------------------------------------------------------------------- credits and stakes

    function withdraw(uint256 seed) external {
        address asset = seed & 1 == 0 ? NATIVE : address(token);
        address caller = _actor(seed >> 3);
        address to = seed % 23 == 0 ? address(0) : _actor(seed >> 40);
        uint256 amount = credited[asset][caller];
        uint256 before = _balance(asset, to);
        if (!_call(caller, 0, abi.encodeCall(escrow.withdraw, (asset, to)), amount != 0 && to != address(0))) return;
        _tookOut(asset, caller, amount);
        require(_balance(asset, to) - before == amount, "withdraw: recipient");
    }

    function withdrawFor(uint256 seed) external {
        uint256 key = REQUESTER + (seed >> 3) % ACTORS;
        IJobEscrow.Withdrawal memory wish = IJobEscrow.Withdrawal({
            account: vm.addr(key),
            token: seed & 1 == 0 ? NATIVE : address(token),
            to: seed % 23 == 0 ? address(0) : _actor(seed >> 40),
            fee: (seed >> 50) % 3 * 1000,
            nonce: nonces[vm.addr(key)] + (seed % 13 == 0 ? 1 : 0),
            deadline: block.timestamp + (seed >> 60) % 2
        });
        if (seed % 7 == 0) wish.deadline = block.timestamp - 1;
        bytes32 kind = keccak256(
            "Withdrawal(address account,address token,address to,uint256 fee,uint256 nonce,uint256 deadline)"
        );
        bytes memory signature = signed(seed % 11 == 0 ? 0xBAD : key, keccak256(abi.encode(kind, wish)));
        uint256 amount = credited[wish.token][wish.account];
        bool good = amount != 0 && wish.fee <= amount && wish.to != address(0) && wish.deadline >= block.timestamp;
        good = good && wish.nonce == nonces[wish.account] && seed % 11 != 0;
        address relayer = vm.addr(STRANGER);
        uint256 before = _balance(wish.token, wish.to);
        if (!_call(relayer, 0, abi.encodeCall(escrow.withdrawFor, (wish, signature)), good)) return;
        nonces[wish.account]++;
        credited[wish.token][relayer] += wish.fee;
        owed[wish.token] += wish.fee;
        _tookOut(wish.token, wish.account, amount);
        require(_balance(wish.token, wish.to) - before == amount - wish.fee, "withdrawFor: recipient");
        _lookAtCredit(wish.token, relayer);
    }

    function addStake(uint256 seed) external {
        address oracle = _actor(seed >> 3);
        uint256 amount = seed % 3 == 0 ? 0 : seed % 1e12;
        if (!_callRegistry(oracle, amount, abi.encodeCall(registry.addStake, ()), amount != 0)) return;
        stakes[oracle].stake += amount;
        staked += amount;
        _lookAtStake(oracle);
    }

    function requestUnstake(uint256 seed) external {
        address oracle = _actor(seed >> 3);
        uint256 free = _free(oracle);
        uint256 amount = seed % 5 == 0 ? free + 1 : free == 0 ? 0 : seed % free;
        bool good = amount != 0 && amount <= free;
        if (!_callRegistry(oracle, 0, abi.encodeCall(registry.requestUnstake, (amount)), good)) return;
        stakes[oracle].stake -= amount;
        stakes[oracle].leaving += amount;
        stakes[oracle].availableAt = block.timestamp + 7 days;
        _lookAtStake(oracle);
    }

    function unstake(uint256 seed) external {
        address oracle = _actor(seed >> 3);
        address to = seed % 23 == 0 ? address(0) : _actor(seed >> 40);
        Stake storage mine = stakes[oracle];
        uint256 amount = mine.leaving;
        bool good = amount != 0 && to != address(0) && block.timestamp >= mine.availableAt;
        uint256 before = to.balance;
        if (!_callRegistry(oracle, 0, abi.encodeCall(registry.unstake, (to)), good)) return;
        (mine.leaving, mine.availableAt) = (0, 0);
        staked -= amount;
        require(to.balance - before == amount, "unstake: recipient");
        _lookAtStake(oracle);
    }

    /// @dev Only the escrow moves bonds and mints, whoever asks.
    function trespass(uint256 seed) external {
        address caller = _actor(seed >> 3);
        bytes[5] memory calls = [
            abi.encodeCall(registry.lock, (caller, 1)),
            abi.encodeCall(registry.release, (caller, 1)),
            abi.encodeCall(registry.slash, (caller, 1)),
            abi.encodeCall(nft.mint, (caller, jobs.length + 1, "result")),
            abi.encodeCall(nft.announceUpdate, (1))
        ];
        uint256 which = seed % 5;
        vm.prank(caller);
        (bool ok,) = (which < 3 ? address(registry) : address(nft)).call(calls[which]);
        require(!ok, "trespass");
    }

    function transferResult(uint256 seed) external {
        if (jobs.length == 0) return;
        uint256 id = 1 + seed % jobs.length;
        Job storage job = _job(id);
        address caller = _oneOf(job.owner, seed >> 3);
        address to = _actor(seed >> 40);
        if (job.owner == address(0)) return;
        vm.prank(caller);
        (bool ok,) = address(nft).call(abi.encodeCall(nft.transferFrom, (job.owner, to, id)));
        require(ok == (caller == job.owner), "transfer of a result");
        if (ok) job.owner = to;
        _look(id);
    }

    // ------------------------------------------------------------------------------ what the tests look at

    function jobCount() external view returns (uint256) {
        return jobs.length;
    }

    /// @dev Everything about every job and account.
    function lookAtAll() external view {
        for (uint256 id = 1; id <= jobs.length; ++id) _look(id);
        for (uint256 i = 0; i < ACTORS; ++i) {
            _lookAtCredit(NATIVE, vm.addr(REQUESTER + i));
            _lookAtCredit(address(token), vm.addr(REQUESTER + i));
            _lookAtStake(vm.addr(REQUESTER + i));
        }
        require(escrow.jobCount() == jobs.length, "job count");
    }

    /// @dev Time and one call by a stranger end every job; then everybody takes out everything and nothing is left.
    function closeEverything() external {
        vm.warp(block.timestamp + 500 days);
        for (uint256 id = 1; id <= jobs.length; ++id) {
            Job storage job = _job(id);
            if (_isTerminal(job.state)) continue;
            bytes memory data = _isDeliverable(id)
                ? abi.encodeCall(escrow.claimRefund, (id, job.terms))
                : abi.encodeCall(escrow.settle, (id, job.terms));
            vm.prank(vm.addr(STRANGER));
            (bool ok,) = address(escrow).call(data);
            require(ok && _isTerminal(escrow.stateOf(id)), "liveness: a job that nobody can end");
        }
        for (uint256 i = 0; i < ACTORS; ++i) _takeOutEverything(vm.addr(REQUESTER + i));
        require(address(escrow).balance == donated[NATIVE], "liveness: native money left");
        require(token.balanceOf(address(escrow)) == donated[address(token)], "liveness: tokens left");
        require(address(registry).balance == donatedToRegistry, "liveness: stakes left");
    }

    function _takeOutEverything(address who) private {
        address[2] memory assets = [NATIVE, address(token)];
        for (uint256 i = 0; i < 2; ++i) {
            if (escrow.creditOf(who, assets[i]) == 0) continue;
            vm.prank(who);
            escrow.withdraw(assets[i], who);
        }
        (uint256 stake, uint256 locked) = registry.stakeOf(who);
        require(locked == 0, "liveness: a bond of no job");
        if (stake != 0) {
            vm.prank(who);
            registry.requestUnstake(stake);
        }
        (uint256 leaving, uint256 availableAt) = registry.unstakingOf(who);
        if (leaving == 0) return;
        if (availableAt > block.timestamp) vm.warp(availableAt);
        vm.prank(who);
        registry.unstake(who);
    }

    // ------------------------------------------------------------------------------------ drawing arguments

    /// @dev Terms that make sense, but for one fault in sixteen.
    function _draw(uint256 seed, uint256 fault) private view returns (IJobEscrow.Terms memory terms) {
        terms.requester = vm.addr(REQUESTER);
        terms.payer = terms.requester;
        terms.oracle = seed % 5 == 0 ? address(0) : vm.addr(ORACLE + (seed >> 20) % 8 / 7);
        if ((seed >> 24) % 3 == 0) terms.validator = vm.addr(VALIDATOR);
        if ((seed >> 28) % 3 == 0) terms.arbiter = vm.addr(ARBITER);
        if ((seed >> 32) & 1 == 0) terms.token = address(token);
        terms.budget = uint96((seed >> 40) % 1e12 + 1);
        if (terms.validator != address(0)) terms.validatorFee = uint96((seed >> 80) % terms.budget);
        terms.bond = (seed >> 90) % 3 == 0 && terms.oracle != address(0) ? 0 : uint96((seed >> 100) % 1e12 + 1);
        terms.acceptBy = uint32(block.timestamp + (seed >> 140) % 2 days);
        terms.deliverBy = uint32(terms.acceptBy + (seed >> 160) % 3 days);
        if (terms.validator != address(0) || terms.arbiter != address(0)) {
            terms.challengePeriod = uint32((seed >> 180) % 5 days + 1);
        }
        terms.spec = bytes32(seed | 1);
        terms.sealTo = bytes32(seed | 2);
        _spoil(terms, fault);
    }

    function _spoil(IJobEscrow.Terms memory terms, uint256 fault) private view {
        uint256 which = fault % 256;
        if (which == 0) terms.budget = 0;
        else if (which == 1) terms.spec = 0;
        else if (which == 2) terms.sealTo = 0;
        else if (which == 3) terms.acceptBy = uint32(block.timestamp - 1);
        else if (which == 4) terms.deliverBy = terms.acceptBy - 1;
        else if (which == 5) terms.deliverBy = uint32(block.timestamp + 366 days + 1);
        else if (which == 6) terms.challengePeriod = 90 days + 1;
        else if (which == 7) terms.bond = 0;
        else if (which == 8) terms.challengePeriod = terms.challengePeriod == 0 ? 1 : 0;
        else if (which == 9) terms.validator = terms.oracle;
        else if (which == 10) terms.arbiter = terms.oracle;
        else if (which == 11) terms.validatorFee = terms.budget;
        else if (which == 12) terms.payer = vm.addr(SPONSOR);
        else if (which == 13) terms.deliverBy = uint32(block.timestamp + 366 days);
        else if (which == 14 && terms.challengePeriod != 0) terms.challengePeriod = 90 days;
        else if (which == 16) terms.requester = vm.addr(ORACLE); // may well be its own requester
    }

    /// @dev A job, its terms, and whether they are right: now and then they are altered, or the job is unknown. Three
    /// times in four the job is in one of the `wanted` states (one bit each), if there is such a job among the last.
    function _pick(
        uint256 seed,
        uint256 fault,
        uint256 wanted
    ) private view returns (uint256 id, IJobEscrow.Terms memory terms, bool same) {
        if (jobs.length == 0) return (1, _draw(seed, 15), false);
        uint256 window = jobs.length < WINDOW ? jobs.length : WINDOW;
        uint256 start = (seed >> 210) % window;
        id = jobs.length - start;
        for (uint256 i = 0; i < window && (seed >> 200) % 4 != 0; ++i) {
            uint256 candidate = jobs.length - (start + i) % window;
            if ((wanted >> uint8(_job(candidate).state)) & 1 == 0) continue;
            id = candidate;
            break;
        }
        terms = _job(id).terms;
        uint256 which = fault % 128;
        if (which == 0) return (jobs.length + 1, terms, false);
        if (which == 1) terms.budget += 1;
        else if (which == 2) terms.oracle = address(uint160(terms.oracle) ^ 1);
        else if (which == 3) terms.payer = address(uint160(terms.payer) ^ 1);
        else if (which == 4) terms.deliverBy += 1;
        else if (which == 5) terms.sealTo = ~terms.sealTo;
        else if (which == 6) terms.arbiter = address(uint160(terms.arbiter) ^ 1);
        same = which == 0 || which > 6;
    }

    function _bill(IJobEscrow.Terms memory terms, uint256 seed) private pure returns (uint96 charge, bytes32 result) {
        uint96 cap = terms.budget < terms.validatorFee ? 0 : terms.budget - terms.validatorFee;
        uint256 which = seed % 16;
        charge = which == 0 ? cap + 1 : which < 4 ? cap : which == 4 ? 0 : uint96((seed >> 8) % (uint256(cap) + 1));
        result = which == 5 && (seed >> 4) & 1 == 0 ? bytes32(0) : keccak256(abi.encode(seed));
    }

    function _verdict(
        uint256 id,
        IJobEscrow.Terms memory terms,
        bytes32 result,
        uint256 seed
    ) private view returns (IJobEscrow.Attestation memory verdict, bool valid) {
        bool accepted = seed & 1 == 0;
        IJobEscrow.Method method = IJobEscrow.Method((seed >> 1) % 4);
        uint256 which = (seed >> 3) % 32;
        valid = which > 2 && terms.validator == vm.addr(VALIDATOR);
        verdict = attest(which == 0 ? STRANGER : VALIDATOR, which == 1 ? id + 1 : id, terms, result, accepted, method);
        if (which == 2) verdict.accepted = !accepted;
    }

    function _actor(uint256 seed) private pure returns (address) {
        return vm.addr(REQUESTER + seed % ACTORS);
    }

    /// @dev The right one, seven times in eight.
    function _oneOf(address right, uint256 seed) private pure returns (address) {
        return seed % 8 == 0 || right == address(0) ? _actor(seed >> 3) : right;
    }

    function _priceOf(IJobEscrow.Terms memory terms, uint256 seed) private pure returns (uint256) {
        uint256 right = terms.token == NATIVE ? terms.budget : 0;
        return seed % 32 == 0 ? right + 1 : right;
    }

    // --------------------------------------------------------------- what the documentation says must happen

    function _makesSense(IJobEscrow.Terms memory t) private view returns (bool) {
        if (t.budget == 0 || t.spec == 0 || t.sealTo == 0) return false;
        if (t.acceptBy < block.timestamp || t.deliverBy < t.acceptBy) return false;
        if (t.deliverBy > block.timestamp + 366 days || t.challengePeriod > 90 days) return false;
        if (t.oracle == address(0) && t.bond == 0) return false;
        bool judged = t.validator != address(0);
        if ((judged || t.arbiter != address(0)) != (t.challengePeriod > 0)) return false;
        if (judged && t.validator == t.oracle) return false;
        if (t.arbiter != address(0) && t.arbiter == t.oracle) return false;
        return judged ? t.validatorFee < t.budget : t.validatorFee == 0;
    }

    function _pays(IJobEscrow.Terms memory terms, uint256 value) private pure returns (bool) {
        return value == (terms.token == NATIVE ? terms.budget : 0);
    }

    function _in(uint256 id, IJobEscrow.State state) private view returns (bool) {
        return id <= jobs.length && _job(id).state == state;
    }

    function _isTaken(uint256 id) private view returns (bool) {
        return _in(id, IJobEscrow.State.Accepted) || _in(id, IJobEscrow.State.Approved);
    }

    function _isDeliverable(uint256 id) private view returns (bool) {
        return _in(id, IJobEscrow.State.Created) || _isTaken(id);
    }

    function _isTerminal(IJobEscrow.State state) private pure returns (bool) {
        return state >= IJobEscrow.State.Settled && state <= IJobEscrow.State.Cancelled;
    }

    function _inTime(uint256 id) private view returns (bool) {
        return block.timestamp <= _job(id).deadline;
    }

    function _canDeliver(uint256 id, address caller, uint96 charge, bytes32 result) private view returns (bool) {
        if (!_isDeliverable(id) || !_inTime(id)) return false;
        IJobEscrow.Terms storage terms = _job(id).terms;
        return caller == terms.oracle && result != 0 && charge <= terms.budget - terms.validatorFee;
    }

    /// @dev A delivery without acceptance that is to be challenged locks the bond now.
    function _hasBondFor(uint256 id, address caller, bool attested) private view returns (bool) {
        Job storage job = _job(id);
        if (attested || job.state != IJobEscrow.State.Created || job.terms.challengePeriod == 0) return true;
        return _free(caller) >= job.terms.bond;
    }

    function _canJudge(uint256 id) private view returns (bool) {
        return _in(id, IJobEscrow.State.Completed) && _inTime(id) && !_job(id).rejected;
    }

    /// @dev Whether an entry before the given one delivers the same job.
    function _isAmong(
        IJobEscrow.BatchedDelivery[] memory batch,
        bool[] memory takes,
        uint256 entry
    ) private pure returns (bool) {
        for (uint256 i = 0; i < entry; ++i) {
            if (takes[i] && batch[i].jobId == batch[entry].jobId) return true;
        }
        return false;
    }

    function _free(address oracle) private view returns (uint256) {
        return stakes[oracle].stake - stakes[oracle].locked;
    }

    function _created(IJobEscrow.Terms memory terms) private {
        Job storage job = jobs.push();
        (job.terms, job.state, job.deadline) = (terms, IJobEscrow.State.Created, terms.acceptBy);
        held[terms.token] += terms.budget;
        _look(jobs.length);
    }

    function _delivered(uint256 id, uint96 charge, bytes32 result) private {
        Job storage job = _job(id);
        (job.result, job.owner) = (result, job.terms.requester);
        if (job.terms.challengePeriod == 0) {
            _release(job);
            _paid(job, charge, 0);
            return _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier.Unverified);
        }
        if (job.state == IJobEscrow.State.Created) _lock(job);
        (job.charge, job.state) = (charge, IJobEscrow.State.Completed);
        job.deadline = block.timestamp + job.terms.challengePeriod;
        reached[IJobEscrow.State.Completed]++;
        _look(id);
    }

    function _deliveredAttested(uint256 id, uint96 charge, bytes32 result, IJobEscrow.Method method) private {
        Job storage job = _job(id);
        (job.result, job.owner) = (result, job.terms.requester);
        _release(job);
        _paid(job, charge, job.terms.validatorFee);
        _ended(id, IJobEscrow.State.Settled, IJobEscrow.Tier(uint8(method) + 2));
    }

    function _judged(uint256 id, IJobEscrow.Attestation memory verdict) private {
        Job storage job = _job(id);
        IJobEscrow.Tier tier = IJobEscrow.Tier(uint8(verdict.method) + 2);
        if (verdict.accepted) {
            _paid(job, job.charge, job.terms.validatorFee);
            _release(job);
            _ended(id, IJobEscrow.State.Settled, tier);
        } else if (job.terms.arbiter == address(0)) {
            _refusedResult(id, tier);
        } else {
            (job.rejected, job.rejectedBy) = (true, tier);
            job.deadline = block.timestamp + job.terms.challengePeriod;
            _look(id);
        }
    }

    function _refusedResult(uint256 id, IJobEscrow.Tier tier) private {
        Job storage job = _job(id);
        _paid(job, 0, job.terms.validatorFee);
        _slash(job, job.terms.bond);
        _ended(id, IJobEscrow.State.Rejected, tier);
    }

    function _refunded(uint256 id, IJobEscrow.State state) private {
        _paid(_job(id), 0, 0);
        _ended(id, state, IJobEscrow.Tier.Unverified);
    }

    /// @dev Splits the budget; what is neither the oracle's nor the validator's is the payer's.
    function _paid(Job storage job, uint96 toOracle, uint96 toValidator) private {
        IJobEscrow.Terms storage terms = job.terms;
        held[terms.token] -= terms.budget;
        _credit(terms.token, terms.oracle, toOracle);
        _credit(terms.token, terms.validator, toValidator);
        _credit(terms.token, terms.payer, terms.budget - toOracle - toValidator);
    }

    function _ended(uint256 id, IJobEscrow.State state, IJobEscrow.Tier tier) private {
        Job storage job = _job(id);
        require(!_isTerminal(job.state), "a job that ended goes on");
        (job.state, job.tier, job.deadline, job.charge) = (state, tier, 0, 0);
        (job.rejected, job.disputedBy) = (false, IJobEscrow.Party.Nobody);
        reached[state]++;
        require(!job.bonded, "the model forgot a bond");
        _look(id);
    }

    function _credit(address asset, address account, uint256 amount) private {
        credited[asset][account] += amount;
        owed[asset] += amount;
    }

    function _tookOut(address asset, address account, uint256 amount) private {
        credited[asset][account] -= amount;
        owed[asset] -= amount;
        _lookAtCredit(asset, account);
    }

    function _lock(Job storage job) private {
        job.bonded = job.terms.bond != 0;
        stakes[job.terms.oracle].locked += job.terms.bond;
    }

    function _release(Job storage job) private {
        if (job.bonded) stakes[job.terms.oracle].locked -= job.terms.bond;
        job.bonded = false;
    }

    /// @dev Takes `amount` of a locked bond for the payer and leaves the rest locked for {_release}.
    function _slash(Job storage job, uint96 amount) private {
        if (!job.bonded) return;
        Stake storage mine = stakes[job.terms.oracle];
        (mine.stake, mine.locked) = (mine.stake - amount, mine.locked - job.terms.bond);
        job.bonded = false;
        staked -= amount;
        _credit(NATIVE, job.terms.payer, amount);
    }

    function _register(address oracle, uint256 amount) private {
        vm.deal(oracle, amount);
        vm.prank(oracle);
        registry.register{value: amount}("key", "profile");
        stakes[oracle].stake = amount;
        staked += amount;
    }

    // --------------------------------------------------------------------------------- making calls, looking

    function _call(address caller, uint256 value, bytes memory data, bool expected) private returns (bool) {
        return _make(address(escrow), caller, value, data, expected);
    }

    function _callRegistry(address caller, uint256 value, bytes memory data, bool expected) private returns (bool) {
        return _make(address(registry), caller, value, data, expected);
    }

    function _make(
        address target,
        address caller,
        uint256 value,
        bytes memory data,
        bool expected
    ) private returns (bool ok) {
        vm.deal(caller, caller.balance + value);
        vm.prank(caller);
        (ok,) = target.call{value: value}(data);
        require(ok || !expected, "refused what must be allowed");
        require(!ok || expected, "allowed what must be refused");
        if (ok) succeeded[bytes4(data)]++;
        else refused[bytes4(data)]++;
    }

    function _look(uint256 id) private view {
        if (inBatch) return;
        Job storage job = _job(id);
        require(escrow.stateOf(id) == job.state, "state");
        require(escrow.tierOf(id) == job.tier, "tier");
        require(escrow.deadlineOf(id) == job.deadline, "deadline");
        require(escrow.matches(id, job.terms), "terms");
        (uint96 charge, bool rejected, IJobEscrow.Party disputedBy) = escrow.deliveryOf(id);
        require(charge == job.charge && rejected == job.rejected && disputedBy == job.disputedBy, "delivery");
        _lookAtCredit(job.terms.token, job.terms.payer);
        _lookAtCredit(job.terms.token, job.terms.oracle);
        _lookAtCredit(job.terms.token, job.terms.validator);
        _lookAtCredit(NATIVE, job.terms.requester);
        _lookAtStake(job.terms.oracle);
        (bool exists, bytes memory answer) = address(nft).staticcall(abi.encodeCall(nft.ownerOf, (id)));
        require(exists == (job.owner != address(0)), "token");
        if (!exists) return;
        require(abi.decode(answer, (address)) == job.owner, "owner of the token");
        require(nft.resultOf(id) == job.result, "digest of the result");
    }

    function _lookAtCredit(address asset, address account) private view {
        require(escrow.creditOf(account, asset) == credited[asset][account], "credit");
    }

    function _lookAtStake(address oracle) private view {
        (uint256 stake, uint256 locked) = registry.stakeOf(oracle);
        (uint256 leaving, uint256 availableAt) = registry.unstakingOf(oracle);
        Stake storage mine = stakes[oracle];
        require(stake == mine.stake && locked == mine.locked, "stake");
        require(leaving == mine.leaving && availableAt == mine.availableAt, "unstaking");
    }

    function _balance(address asset, address account) private view returns (uint256) {
        return asset == NATIVE ? account.balance : token.balanceOf(account);
    }

    function _resultOf(uint256 id) private view returns (bytes32) {
        return id <= jobs.length ? _job(id).result : bytes32(0);
    }

    function _job(uint256 id) private view returns (Job storage) {
        return jobs[id - 1];
    }
}
