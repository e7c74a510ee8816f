// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {Wallet} from "../../../contracts/test/Actors.sol";
import {FalseToken, FeeToken, LyingToken, PhantomToken, SignedToken} from "../../../contracts/test/Tokens.sol";
import {Bench} from "./Bench.sol";
import {EchoToken} from "./Mocks.sol";
import {benchVm} from "./BenchVm.sol";
import {vm} from "../Vm.sol";

contract CreationTest is Bench {
    bytes private constant REENTRANT = abi.encodePacked(bytes4(keccak256("ReentrancyGuardReentrantCall()")));
    SignedToken private signedToken = new SignedToken();

    constructor() {
        signedToken.mint(requester, 10 * uint256(BUDGET));
    }

    // ------------------------------------------------------------------------------------------ constants

    function test_constants__all__are_as_documented() external view {
        require(escrow.PROMOTION_NOTICE() == 3_600, "notice");
        require(escrow.RULING_PERIOD() == 1_209_600, "ruling");
        require(escrow.MAX_JOB_DURATION() == 31_622_400, "duration");
        require(escrow.MAX_CHALLENGE_PERIOD() == 7_776_000, "challenge");
        require(registry.escrow() == address(escrow) && address(nft.escrow()) == address(escrow), "each other");
        require(escrow.jobCount() == 0 && escrow.stateOf(1) == IJobEscrow.State.None, "no jobs");
    }

    function test_typehashes__all__are_those_of_the_documented_types() external view {
        bytes memory fields =
            "Terms(address requester,address payer,address oracle,address validator,address arbiter,address token,uint96 budget,uint96 validatorFee,uint96 bond,uint32 acceptBy,uint32 deliverBy,uint32 challengePeriod,bytes32 spec,bytes32 sealTo)";
        bytes32 order = keccak256(abi.encodePacked("CreateJob(Terms terms,uint256 nonce)", fields));
        require(escrow.CREATE_JOB_TYPEHASH() == order, "order");
        bytes32 verdict = keccak256(
            "Attestation(uint256 jobId,bytes32 termsHash,bytes32 result,bool accepted,uint8 method,uint32 distance,bytes32 report)"
        );
        require(escrow.ATTESTATION_TYPEHASH() == verdict, "verdict");
        bytes32 wish = keccak256(
            "Withdrawal(address account,address token,address to,uint256 fee,uint256 nonce,uint256 deadline)"
        );
        require(escrow.WITHDRAWAL_TYPEHASH() == wish, "withdrawal");
    }

    function test_eip712Domain__name_version_contract__are_as_documented() external view {
        (bytes1 fields, string memory name, string memory version, uint256 chain, address where,,) =
            escrow.eip712Domain();

        require(fields == 0x0f && keccak256(bytes(name)) == keccak256("Qscrow"));
        require(keccak256(bytes(version)) == keccak256("1") && chain == block.chainid && where == address(escrow));
    }

    function test_authorizationNonce__terms_and_salt__are_hashed_together() external view {
        IJobEscrow.Terms memory terms = _own();

        require(escrow.authorizationNonce(terms, "salt") == keccak256(abi.encode(terms, bytes32("salt"))));
    }

    function test_receive__only_from_the_registry__takes_value() external {
        _refuse(stranger, 1, "", _notAllowed(0, stranger));
        _do(address(registry), 1, "");
    }

    // ------------------------------------------------------------------------------------------ createJob

    function test_createJob__native__locks_the_budget_under_the_terms() external {
        IJobEscrow.Terms memory terms = _own();
        _expect(address(escrow));
        emit IJobEscrow.JobCreated(1, requester, oracle, terms);

        bytes memory answer = _do(requester, BUDGET, abi.encodeCall(escrow.createJob, (terms)));

        require(abi.decode(answer, (uint256)) == 1 && escrow.jobCount() == 1);
        require(address(escrow).balance == BUDGET);
        _is(1, IJobEscrow.State.Created, IJobEscrow.Tier.Unverified, ACCEPT_BY);
        require(escrow.matches(1, terms) && !escrow.matches(2, terms));
        _owesOf(NATIVE, requester, 0);
    }

    function test_createJob__second__has_the_next_id() external {
        _create(_own());
        IJobEscrow.Terms memory terms = _own();
        terms.acceptBy = NOW + 7;

        require(_create(terms) == 2 && escrow.jobCount() == 2);
        _is(2, IJobEscrow.State.Created, IJobEscrow.Tier.Unverified, NOW + 7);
        require(escrow.matches(2, terms) && !escrow.matches(1, terms));
    }

    function test_createJob__token__takes_the_budget_from_the_caller() external {
        IJobEscrow.Terms memory terms = _own();
        terms.token = address(token);
        uint256 before = token.balanceOf(requester);

        _create(terms);

        require(token.balanceOf(address(escrow)) == BUDGET && token.balanceOf(requester) == before - BUDGET);
    }

    function test_createJob__not_by_requester_and_payer__is_refused() external {
        IJobEscrow.Terms memory terms = _own();
        _refuse(sponsor, BUDGET, abi.encodeCall(escrow.createJob, (terms)), _invalid("requester"));
        terms.payer = sponsor;
        _refuse(requester, BUDGET, abi.encodeCall(escrow.createJob, (terms)), _invalid("payer"));
        _refuse(sponsor, BUDGET, abi.encodeCall(escrow.createJob, (terms)), _invalid("requester"));
    }

    function test_createJob__wrong_value__is_refused() external {
        IJobEscrow.Terms memory terms = _own();
        bytes memory data = abi.encodeCall(escrow.createJob, (terms));
        _refuse(requester, BUDGET - 1, data, _wrongValue(BUDGET - 1, BUDGET));
        _refuse(requester, BUDGET + 1, data, _wrongValue(BUDGET + 1, BUDGET));
        terms.token = address(token);
        _refuse(requester, 1, abi.encodeCall(escrow.createJob, (terms)), _wrongValue(1, 0));
        require(escrow.jobCount() == 0);
    }

    function test_createJob__tokens_that_do_not_move_the_budget__are_refused() external {
        IJobEscrow.Terms memory terms = _own();
        FeeToken fee = new FeeToken();
        fee.mint(requester, BUDGET);
        vm.prank(requester);
        fee.approve(address(escrow), BUDGET);
        terms.token = address(fee);
        bytes memory inexact = abi.encodeWithSelector(
            IJobEscrow.InexactTransfer.selector, address(fee), BUDGET - BUDGET / 100, BUDGET
        );
        _refuse(requester, 0, abi.encodeCall(escrow.createJob, (terms)), inexact);
        terms.token = address(new LyingToken());
        inexact = abi.encodeWithSelector(IJobEscrow.InexactTransfer.selector, terms.token, 0, BUDGET);
        _refuse(requester, 0, abi.encodeCall(escrow.createJob, (terms)), inexact);
        terms.token = address(new FalseToken());
        bytes memory failed = abi.encodeWithSignature("SafeERC20FailedOperation(address)", terms.token);
        _refuse(requester, 0, abi.encodeCall(escrow.createJob, (terms)), failed);
    }

    function test_createJob__token_that_calls_back__is_kept_out() external {
        (EchoToken echo, IJobEscrow.Terms memory terms) = _echo();
        _create(terms);
        _wasKeptOut(echo);
    }

    // --------------------------------------------------------------------------------------------- terms

    function test_terms__a_value_missing__is_refused() external {
        IJobEscrow.Terms memory terms = _own();
        terms.budget = 0;
        _refuseTerms(terms, "budget");
        terms = _own();
        terms.spec = 0;
        _refuseTerms(terms, "spec");
        terms = _own();
        terms.sealTo = 0;
        _refuseTerms(terms, "sealTo");
        terms = _own();
        terms.budget = 1;
        _create(terms);
    }

    function test_terms__times_out_of_order__are_refused() external {
        IJobEscrow.Terms memory terms = _own();
        terms.acceptBy = NOW - 1;
        _refuseTerms(terms, "acceptBy");
        terms.acceptBy = NOW;
        _create(terms);
        terms = _own();
        terms.deliverBy = terms.acceptBy - 1;
        _refuseTerms(terms, "deliverBy");
        terms.deliverBy = terms.acceptBy;
        _create(terms);
        terms.deliverBy = NOW + 366 days + 1;
        _refuseTerms(terms, "deliverBy");
        terms.deliverBy = NOW + 366 days;
        _create(terms);
    }

    function test_terms__challenge_period__has_a_maximum() external {
        IJobEscrow.Terms memory terms = _full();
        (terms.payer, terms.token) = (requester, NATIVE);
        terms.challengePeriod = 90 days + 1;
        _refuseTerms(terms, "challengePeriod");
        terms.challengePeriod = 90 days;
        _create(terms);
    }

    function test_terms__challenge_period__needs_somebody_to_challenge_before_and_the_reverse() external {
        for (uint256 i = 0; i < 8; ++i) {
            IJobEscrow.Terms memory terms = _own();
            if (i & 1 != 0) terms.validator = validator;
            if (i & 2 != 0) terms.arbiter = arbiter;
            if (i & 4 != 0) terms.challengePeriod = 1;
            if ((i & 3 != 0) == (i & 4 != 0)) _create(terms);
            else _refuseTerms(terms, "challengePeriod");
        }
    }

    function test_terms__open_job__needs_a_bond() external {
        IJobEscrow.Terms memory terms = _own();
        (terms.oracle, terms.bond) = (address(0), 0);
        _refuseTerms(terms, "bond");
        terms.bond = 1;
        _create(terms);
        (terms.oracle, terms.bond) = (oracle, 0);
        _create(terms);
    }

    function test_terms__judge_in_its_own_cause__is_refused() external {
        IJobEscrow.Terms memory terms = _full();
        (terms.payer, terms.token) = (requester, NATIVE);
        terms.validator = oracle;
        _refuseTerms(terms, "validator");
        (terms.validator, terms.arbiter) = (validator, oracle);
        _refuseTerms(terms, "arbiter");
        terms.arbiter = validator;
        _create(terms);
        (terms.oracle, terms.arbiter) = (address(0), address(0)); // nobody judges nobody
        _create(terms);
    }

    function test_terms__validator_fee__stays_below_the_budget_and_needs_a_validator() external {
        IJobEscrow.Terms memory terms = _judged();
        (terms.payer, terms.token) = (requester, NATIVE);
        terms.validatorFee = BUDGET;
        _refuseTerms(terms, "validatorFee");
        terms.validatorFee = BUDGET + 1;
        _refuseTerms(terms, "validatorFee");
        terms.validatorFee = BUDGET - 1;
        _create(terms);
        terms.validatorFee = 0;
        _create(terms);
        (terms.validator, terms.arbiter, terms.validatorFee) = (address(0), arbiter, 1);
        _refuseTerms(terms, "validatorFee");
    }

    function test_terms__dirty_upper_bits__are_refused() external {
        for (uint256 word = 0; word < 12; ++word) {
            bytes memory data = abi.encodeCall(escrow.createJob, (_own()));
            data[4 + 32 * word] = 0x01;
            (bool ok,) = _make(address(escrow), requester, BUDGET, data);
            require(!ok && escrow.jobCount() == 0, "dirty");
        }
    }

    // ------------------------------------------------------------------------------- createJobWithPermit

    function test_createJobWithPermit__good_permit__takes_the_budget() external {
        IJobEscrow.Terms memory terms = _inSigned();
        _expect(address(escrow));
        emit IJobEscrow.JobCreated(1, requester, oracle, terms);

        bytes memory answer = _do(requester, 0, _withPermit(terms, REQUESTER));

        require(abi.decode(answer, (uint256)) == 1 && escrow.matches(1, terms));
        require(signedToken.balanceOf(address(escrow)) == BUDGET);
        require(signedToken.allowance(requester, address(escrow)) == 0);
    }

    function test_createJobWithPermit__bad_permit__needs_an_allowance() external {
        bytes memory data = _withPermit(_inSigned(), STRANGER);
        bytes memory none =
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, BUDGET);
        _refuse(requester, 0, data, none);
        vm.prank(requester);
        signedToken.approve(address(escrow), BUDGET);

        _do(requester, 0, data);

        require(signedToken.balanceOf(address(escrow)) == BUDGET);
    }

    function test_createJobWithPermit__wrong_parties_or_token__is_refused() external {
        IJobEscrow.Terms memory terms = _inSigned();
        _refuse(stranger, 0, _withPermit(terms, REQUESTER), _invalid("requester"));
        terms.payer = sponsor;
        _refuse(requester, 0, _withPermit(terms, REQUESTER), _invalid("payer"));
        (terms.payer, terms.token) = (requester, NATIVE);
        _refuse(requester, 0, _withPermit(terms, REQUESTER), _invalid("token"));
        terms = _inSigned();
        terms.spec = 0;
        _refuse(requester, 0, _withPermit(terms, REQUESTER), _invalid("spec"));
    }

    function test_createJobWithPermit__token_that_moves_nothing__is_refused() external {
        IJobEscrow.Terms memory terms = _own();
        terms.token = address(new PhantomToken());
        bytes memory inexact = abi.encodeWithSelector(IJobEscrow.InexactTransfer.selector, terms.token, 0, BUDGET);
        _refuse(requester, 0, _withPermit(terms, REQUESTER), inexact);
    }

    function test_createJobWithPermit__token_that_calls_back__is_kept_out() external {
        (EchoToken echo, IJobEscrow.Terms memory terms) = _echo();
        _do(requester, 0, _withPermit(terms, REQUESTER));
        _wasKeptOut(echo);
    }

    // ------------------------------------------------------------------------ createJobWithAuthorization

    function test_createJobWithAuthorization__by_anyone__takes_the_budget_from_the_signer() external {
        IJobEscrow.Terms memory terms = _inSigned();
        _expect(address(escrow));
        emit IJobEscrow.JobCreated(1, requester, oracle, terms);

        bytes memory answer = _do(stranger, 0, _withAuthorization(terms, REQUESTER, "salt"));

        require(abi.decode(answer, (uint256)) == 1 && escrow.matches(1, terms));
        require(signedToken.balanceOf(address(escrow)) == BUDGET);
        require(signedToken.balanceOf(requester) == 9 * uint256(BUDGET));
        _do(stranger, 0, _withAuthorization(terms, REQUESTER, "salt 2"));
        require(signedToken.balanceOf(address(escrow)) == 2 * uint256(BUDGET));
    }

    function test_createJobWithAuthorization__replayed_or_forged__is_refused() external {
        IJobEscrow.Terms memory terms = _inSigned();
        bytes memory data = _withAuthorization(terms, REQUESTER, "salt");
        _do(stranger, 0, data);
        _refuse(stranger, 0, data, abi.encodeWithSignature("Error(string)", "authorization is used"));
        data = _withAuthorization(terms, STRANGER, "salt 2");
        _refuse(stranger, 0, data, abi.encodeWithSignature("Error(string)", "invalid signature"));
    }

    function test_createJobWithAuthorization__wrong_terms__are_refused() external {
        IJobEscrow.Terms memory terms = _inSigned();
        terms.payer = sponsor;
        _refuse(requester, 0, _withAuthorization(terms, REQUESTER, ""), _invalid("payer"));
        (terms.payer, terms.token) = (requester, NATIVE);
        _refuse(requester, 0, _withAuthorization(terms, REQUESTER, ""), _invalid("token"));
        terms = _inSigned();
        terms.budget = 0;
        _refuse(requester, 0, _withAuthorization(terms, REQUESTER, ""), _invalid("budget"));
    }

    function test_createJobWithAuthorization__token_that_moves_nothing__is_refused() external {
        IJobEscrow.Terms memory terms = _own();
        terms.token = address(new PhantomToken());
        bytes memory inexact = abi.encodeWithSelector(IJobEscrow.InexactTransfer.selector, terms.token, 0, BUDGET);
        _refuse(requester, 0, _withAuthorization(terms, REQUESTER, ""), inexact);
    }

    function test_createJobWithAuthorization__token_that_calls_back__is_kept_out() external {
        (EchoToken echo, IJobEscrow.Terms memory terms) = _echo();
        echo.mint(address(escrow), 77); // what the escrow held before does not count
        _do(stranger, 0, _withAuthorization(terms, REQUESTER, ""));
        _wasKeptOut(echo);
    }

    // -------------------------------------------------------------------------------------- createJobFor

    function test_createJobFor__signed_order__is_paid_by_the_sponsor() external {
        IJobEscrow.Terms memory terms = _terms();
        uint256 before = token.balanceOf(sponsor);
        _expect(address(escrow));
        emit IJobEscrow.JobCreated(1, requester, oracle, terms);

        bytes memory answer = _do(sponsor, 0, _for(terms, 0, REQUESTER));

        require(abi.decode(answer, (uint256)) == 1 && escrow.matches(1, terms) && escrow.nonces(requester) == 1);
        require(token.balanceOf(address(escrow)) == BUDGET && token.balanceOf(sponsor) == before - BUDGET);
    }

    function test_createJobFor__native__takes_exactly_the_budget() external {
        IJobEscrow.Terms memory terms = _terms();
        terms.token = NATIVE;
        _refuse(sponsor, BUDGET - 1, _for(terms, 0, REQUESTER), _wrongValue(BUDGET - 1, BUDGET));
        _do(sponsor, BUDGET, _for(terms, 0, REQUESTER));
        require(address(escrow).balance == BUDGET);
    }

    function test_createJobFor__replayed_or_out_of_turn__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        bytes memory data = _for(terms, 0, REQUESTER);
        _refuse(sponsor, 0, _for(terms, 1, REQUESTER), _wrongNonce(0));
        _do(sponsor, 0, data);
        _refuse(sponsor, 0, data, _wrongNonce(1));
        uint256 keyed = 5 << 64;
        _do(sponsor, 0, _for(terms, keyed, REQUESTER));
        _refuse(sponsor, 0, _for(terms, keyed, REQUESTER), _wrongNonce(keyed + 1));
        require(escrow.nonces(requester) == 1 && escrow.nonces(requester, 5) == keyed + 1);
    }

    function test_createJobFor__not_signed_by_the_requester__is_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        bytes memory invalid = abi.encodeWithSelector(IJobEscrow.InvalidSignature.selector, requester);
        _refuse(sponsor, 0, _for(terms, 0, SPONSOR), invalid);
        bytes memory signature = _order(REQUESTER, terms, 0);
        terms.sealTo = "other";
        _refuse(sponsor, 0, abi.encodeCall(escrow.createJobFor, (terms, 0, signature)), invalid);
        terms.requester = address(0);
        invalid = abi.encodeWithSelector(IJobEscrow.InvalidSignature.selector, address(0));
        _refuse(sponsor, 0, abi.encodeCall(escrow.createJobFor, (terms, 0, signature)), invalid);
        _refuse(sponsor, 0, abi.encodeCall(escrow.createJobFor, (terms, 0, "")), invalid);
        require(escrow.nonces(requester) == 0);
    }

    function test_createJobFor__by_who_does_not_pay__is_refused() external {
        _refuse(requester, 0, _for(_terms(), 0, REQUESTER), _invalid("payer"));
    }

    function test_createJobFor__senseless_terms__are_refused() external {
        IJobEscrow.Terms memory terms = _terms();
        terms.budget = 0;
        _refuse(sponsor, 0, _for(terms, 0, REQUESTER), _invalid("budget"));
    }

    function test_createJobFor__contract_as_requester__signs_by_erc_1271() external {
        IJobEscrow.Terms memory terms = _terms();
        terms.requester = address(new Wallet(requester));
        bytes memory data = _for(terms, 0, STRANGER);
        bytes memory invalid = abi.encodeWithSelector(IJobEscrow.InvalidSignature.selector, terms.requester);
        _refuse(sponsor, 0, data, invalid);

        _do(sponsor, 0, _for(terms, 0, REQUESTER));

        require(escrow.matches(1, terms) && escrow.nonces(terms.requester) == 1);
    }

    // ---------------------------------------------------------------------------------------- createJobs

    function test_createJobs__three__have_consecutive_ids_and_are_paid_together() external {
        _create(_own());
        IJobEscrow.Terms[] memory terms = _three();
        for (uint256 i = 0; i < 3; ++i) {
            _expect(address(escrow));
            emit IJobEscrow.JobCreated(2 + i, requester, oracle, terms[i]);
        }
        uint256 total = 3 * uint256(BUDGET) + 3;
        bytes memory answer = _do(requester, total, abi.encodeCall(escrow.createJobs, (terms)));

        require(abi.decode(answer, (uint256)) == 2 && escrow.jobCount() == 4);
        require(address(escrow).balance == total + BUDGET);
        for (uint256 i = 0; i < 3; ++i) require(escrow.matches(2 + i, terms[i]));
    }

    function test_createJobs__in_a_token__takes_the_sum() external {
        IJobEscrow.Terms[] memory terms = _three();
        for (uint256 i = 0; i < 3; ++i) terms[i].token = address(token);

        _do(requester, 0, abi.encodeCall(escrow.createJobs, (terms)));

        require(token.balanceOf(address(escrow)) == 3 * uint256(BUDGET) + 3);
    }

    function test_createJobs__wrong_value__is_refused() external {
        uint256 total = 3 * uint256(BUDGET) + 3;
        bytes memory data = abi.encodeCall(escrow.createJobs, (_three()));
        _refuse(requester, total - 1, data, _wrongValue(total - 1, total));
        _refuse(requester, total + 1, data, _wrongValue(total + 1, total));
    }

    function test_createJobs__none__changes_nothing() external {
        _create(_own());
        bytes memory data = abi.encodeCall(escrow.createJobs, (new IJobEscrow.Terms[](0)));
        _refuse(requester, 1, data, _wrongValue(1, 0));

        require(abi.decode(_do(requester, 0, data), (uint256)) == 2 && escrow.jobCount() == 1);
    }

    function test_createJobs__one_of_another_party_or_token__refuses_all() external {
        for (uint256 i = 0; i < 3; ++i) {
            IJobEscrow.Terms[] memory terms = _three();
            terms[i].requester = stranger;
            _refuse(requester, 0, abi.encodeCall(escrow.createJobs, (terms)), _invalid("requester"));
            (terms[i].requester, terms[i].payer) = (requester, sponsor);
            _refuse(requester, 0, abi.encodeCall(escrow.createJobs, (terms)), _invalid("payer"));
            (terms[i].payer, terms[i].token) = (requester, address(token));
            _refuse(requester, 0, abi.encodeCall(escrow.createJobs, (terms)), _invalid("token"));
            (terms[i].token, terms[i].spec) = (NATIVE, 0);
            _refuse(requester, 0, abi.encodeCall(escrow.createJobs, (terms)), _invalid("spec"));
        }
        require(escrow.jobCount() == 0);
    }

    // -------------------------------------------------------------------------------------------- parts

    function _three() private view returns (IJobEscrow.Terms[] memory terms) {
        terms = new IJobEscrow.Terms[](3);
        for (uint256 i = 0; i < 3; ++i) {
            terms[i] = _own();
            terms[i].budget += uint96(i);
        }
    }

    function _refuseTerms(IJobEscrow.Terms memory terms, bytes32 field) private {
        uint256 before = escrow.jobCount();
        _refuse(requester, terms.budget, abi.encodeCall(escrow.createJob, (terms)), _invalid(field));
        require(escrow.jobCount() == before);
    }

    function _for(IJobEscrow.Terms memory terms, uint256 nonce, uint256 key) private view returns (bytes memory) {
        return abi.encodeCall(escrow.createJobFor, (terms, nonce, _order(key, terms, nonce)));
    }

    function _wrongNonce(uint256 current) private view returns (bytes memory) {
        return abi.encodeWithSignature("InvalidAccountNonce(address,uint256)", requester, current);
    }

    function _inSigned() private view returns (IJobEscrow.Terms memory terms) {
        terms = _own();
        terms.token = address(signedToken);
    }

    function _echo() private returns (EchoToken echo, IJobEscrow.Terms memory terms) {
        echo = new EchoToken();
        echo.mint(requester, BUDGET);
        echo.callOnTransfer(address(escrow), abi.encodeCall(escrow.withdraw, (NATIVE, stranger)));
        terms = _own();
        terms.token = address(echo);
    }

    function _wasKeptOut(EchoToken echo) private view {
        require(echo.answered() && keccak256(echo.answer()) == keccak256(REENTRANT), "not kept out");
    }

    function _withPermit(IJobEscrow.Terms memory terms, uint256 key) private view returns (bytes memory) {
        bytes32 kind = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        uint256 deadline = NOW + 60;
        bytes32 inner = keccak256(abi.encode(kind, requester, address(escrow), uint256(BUDGET), uint256(0), deadline));
        (uint8 v, bytes32 r, bytes32 s) = _sign(key, inner);
        return abi.encodeCall(escrow.createJobWithPermit, (terms, deadline, v, r, s));
    }

    function _withAuthorization(
        IJobEscrow.Terms memory terms,
        uint256 key,
        bytes32 salt
    ) private view returns (bytes memory) {
        bytes32 kind = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        bytes32 nonce = keccak256(abi.encode(terms, salt));
        uint256 amount = terms.budget;
        bytes32 inner = keccak256(abi.encode(kind, requester, address(escrow), amount, NOW - 9, NOW + 60, nonce));
        IJobEscrow.Authorization memory permission;
        (permission.validAfter, permission.validBefore, permission.salt) = (NOW - 9, NOW + 60, salt);
        (permission.v, permission.r, permission.s) = _sign(key, inner);
        return abi.encodeCall(escrow.createJobWithAuthorization, (terms, permission));
    }

    function _sign(uint256 key, bytes32 inner) private view returns (uint8, bytes32, bytes32) {
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", signedToken.DOMAIN_SEPARATOR(), inner));
        return vm.sign(key, digest);
    }
}
