// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobEscrow} from "../../../interfaces/IJobEscrow.sol";
import {FreezingToken} from "../../../contracts/test/Tokens.sol";
import {Wallet} from "../../../contracts/test/Actors.sol";
import {Bench} from "./Bench.sol";
import {EchoToken, Recipient} from "./Mocks.sol";
import {vm} from "../Vm.sol";

/// @dev {withdraw} and {withdrawFor}.
contract PaymentsTest is Bench {
    address private constant TO = address(0x70);
    bytes private constant REENTRANT = abi.encodePacked(bytes4(keccak256("ReentrancyGuardReentrantCall()")));

    // ------------------------------------------------------------------------------------------ withdraw

    function test_withdraw__native__takes_all_out_once() external {
        _credited(_own());
        _expect(address(escrow));
        emit IJobEscrow.Withdrawn(requester, NATIVE, TO, BUDGET);

        require(_withdraw(NATIVE, TO) == BUDGET);

        require(TO.balance == BUDGET && address(escrow).balance == 0);
        _owesOf(NATIVE, requester, 0);
        _refuse(requester, 0, abi.encodeCall(escrow.withdraw, (NATIVE, TO)), _nothing(requester, NATIVE));
    }

    function test_withdraw__token__takes_all_out_once() external {
        _credited(_inToken(address(token)));
        _expect(address(escrow));
        emit IJobEscrow.Withdrawn(requester, address(token), TO, BUDGET);

        require(_withdraw(address(token), TO) == BUDGET);

        require(token.balanceOf(TO) == BUDGET && token.balanceOf(address(escrow)) == 0);
        bytes memory data = abi.encodeCall(escrow.withdraw, (address(token), TO));
        _refuse(requester, 0, data, _nothing(requester, address(token)));
    }

    function test_withdraw__nobodys_credit_or_to_nobody__is_refused() external {
        _credited(_own());
        _refuse(stranger, 0, abi.encodeCall(escrow.withdraw, (NATIVE, TO)), _nothing(stranger, NATIVE));
        bytes memory nobody = abi.encodeWithSelector(IJobEscrow.InvalidRecipient.selector);
        _refuse(requester, 0, abi.encodeCall(escrow.withdraw, (NATIVE, address(0))), nobody);
        _refuse(requester, 0, abi.encodeCall(escrow.withdraw, (NATIVE, address(escrow))), nobody);
        _owesOf(NATIVE, requester, BUDGET);
    }

    function test_withdraw__recipient_refuses__keeps_the_credit() external {
        _credited(_own());
        Recipient recipient = new Recipient();
        recipient.refuse();
        bytes memory failed =
            abi.encodeWithSelector(IJobEscrow.TransferFailed.selector, address(recipient), BUDGET);
        _refuse(requester, 0, abi.encodeCall(escrow.withdraw, (NATIVE, address(recipient))), failed);
        _owesOf(NATIVE, requester, BUDGET);
    }

    function test_withdraw__token_answers_false__keeps_the_credit() external {
        FreezingToken ice = new FreezingToken();
        ice.mint(requester, BUDGET);
        vm.prank(requester);
        ice.approve(address(escrow), BUDGET);
        _credited(_inToken(address(ice)));
        ice.freeze(true);
        bytes memory failed = abi.encodeWithSignature("SafeERC20FailedOperation(address)", address(ice));
        _refuse(requester, 0, abi.encodeCall(escrow.withdraw, (address(ice), TO)), failed);
        _owesOf(address(ice), requester, BUDGET);
    }

    function test_withdraw__recipient_that_calls_back__is_kept_out() external {
        _credited(_own());
        Recipient recipient = new Recipient();
        recipient.callOnReceipt(address(escrow), abi.encodeCall(escrow.withdraw, (NATIVE, TO)));
        _withdraw(NATIVE, address(recipient));
        require(keccak256(recipient.answer()) == keccak256(REENTRANT) && address(recipient).balance == BUDGET);
    }

    function test_withdraw__token_that_calls_back__is_kept_out() external {
        EchoToken echo = new EchoToken();
        echo.mint(requester, BUDGET);
        _credited(_inToken(address(echo)));
        echo.callOnTransfer(address(escrow), abi.encodeCall(escrow.withdraw, (address(echo), TO)));
        _withdraw(address(echo), TO);
        require(keccak256(echo.answer()) == keccak256(REENTRANT) && echo.balanceOf(TO) == BUDGET);
    }

    // --------------------------------------------------------------------------------------- withdrawFor

    function test_withdrawFor__in_the_last_second__pays_recipient_and_relayer() external {
        _credited(_own());
        IJobEscrow.Withdrawal memory wish = _wish();
        bytes memory data = _for(wish, REQUESTER);
        vm.warp(wish.deadline);
        _expect(address(escrow));
        emit IJobEscrow.RelayerCredited(requester, stranger, NATIVE, 1_001);
        _expect(address(escrow));
        emit IJobEscrow.Withdrawn(requester, NATIVE, TO, BUDGET - 1_001);

        require(abi.decode(_do(stranger, 0, data), (uint256)) == BUDGET - 1_001);

        require(TO.balance == BUDGET - 1_001 && address(escrow).balance == 1_001);
        _owesOf(NATIVE, requester, 0);
        _owesOf(NATIVE, stranger, 1_001);
        require(escrow.nonces(requester) == 1);
    }

    function test_withdrawFor__token_without_fee__credits_no_relayer() external {
        _credited(_inToken(address(token)));
        IJobEscrow.Withdrawal memory wish = _wish();
        (wish.token, wish.fee) = (address(token), 0);
        _expect(address(escrow));
        emit IJobEscrow.Withdrawn(requester, address(token), TO, BUDGET);
        _do(stranger, 0, _for(wish, REQUESTER));
        require(token.balanceOf(TO) == BUDGET);
        _owesOf(address(token), stranger, 0);
    }

    function test_withdrawFor__no_fee__announces_no_relayer() external {
        _credited(_own());
        IJobEscrow.Withdrawal memory wish = _wish();
        wish.fee = 0;
        require(_doWithoutBond(stranger, 0, _for(wish, REQUESTER)) == 1, "the withdrawal alone");
    }

    function test_withdrawFor__fee__up_to_the_credit() external {
        _credited(_own());
        IJobEscrow.Withdrawal memory wish = _wish();
        wish.fee = uint256(BUDGET) + 1;
        bytes memory high = abi.encodeWithSelector(IJobEscrow.FeeTooHigh.selector, wish.fee, BUDGET);
        _refuse(stranger, 0, _for(wish, REQUESTER), high);
        wish.fee = BUDGET;
        require(abi.decode(_do(stranger, 0, _for(wish, REQUESTER)), (uint256)) == 0);
        _owesOf(NATIVE, stranger, BUDGET);
    }

    function test_withdrawFor__expired_or_replayed_or_out_of_turn__is_refused() external {
        _credited(_own());
        IJobEscrow.Withdrawal memory wish = _wish();
        bytes memory data = _for(wish, REQUESTER);
        vm.warp(wish.deadline + 1);
        bytes memory expired = abi.encodeWithSelector(IJobEscrow.SignatureExpired.selector, wish.deadline);
        _refuse(stranger, 0, data, expired);
        vm.warp(wish.deadline);
        wish.nonce = 1;
        _refuse(stranger, 0, _for(wish, REQUESTER), _wrongNonce(0));
        _do(stranger, 0, data);
        _refuse(stranger, 0, data, _wrongNonce(1));
    }

    function test_withdrawFor__not_signed_by_the_account__is_refused() external {
        _credited(_own());
        IJobEscrow.Withdrawal memory wish = _wish();
        bytes memory invalid = abi.encodeWithSelector(IJobEscrow.InvalidSignature.selector, requester);
        _refuse(stranger, 0, _for(wish, STRANGER), invalid);
        bytes memory signature = _signature(wish, REQUESTER);
        wish.to = stranger;
        _refuse(stranger, 0, abi.encodeCall(escrow.withdrawFor, (wish, signature)), invalid);
        require(escrow.nonces(requester) == 0);
    }

    function test_withdrawFor__no_credit_or_to_nobody__is_refused() external {
        IJobEscrow.Withdrawal memory wish = _wish();
        _refuse(stranger, 0, _for(wish, REQUESTER), _nothing(requester, NATIVE));
        _credited(_own());
        wish.to = address(0);
        bytes memory nobody = abi.encodeWithSelector(IJobEscrow.InvalidRecipient.selector);
        _refuse(stranger, 0, _for(wish, REQUESTER), nobody);
        wish.to = address(escrow);
        _refuse(stranger, 0, _for(wish, REQUESTER), nobody);
        _owesOf(NATIVE, requester, BUDGET);
    }

    function test_withdrawFor__contract_as_account__signs_by_erc_1271() external {
        IJobEscrow.Withdrawal memory wish = _wish();
        wish.account = address(new Wallet(requester));
        IJobEscrow.Terms memory terms = _judged();
        (terms.validator, terms.token) = (wish.account, NATIVE);
        uint256 id = _accepted(terms);
        IJobEscrow.Attestation memory verdict =
            attest(REQUESTER, id, terms, RESULT, true, IJobEscrow.Method.Replayed);
        _do(oracle, 0, abi.encodeCall(escrow.deliverAttested, (id, terms, CHARGE, RESULT, verdict)));

        _do(stranger, 0, _for(wish, REQUESTER));

        require(TO.balance == FEE - 1_001);
    }

    function test_withdrawFor__recipient_that_calls_back__is_kept_out() external {
        _credited(_own());
        Recipient recipient = new Recipient();
        recipient.callOnReceipt(address(escrow), abi.encodeCall(escrow.withdraw, (NATIVE, TO)));
        IJobEscrow.Withdrawal memory wish = _wish();
        wish.to = address(recipient);
        _do(stranger, 0, _for(wish, REQUESTER));
        require(keccak256(recipient.answer()) == keccak256(REENTRANT));
    }

    // -------------------------------------------------------------------------------------------- parts

    /// @dev A cancelled job: its requester is owed the budget.
    function _credited(IJobEscrow.Terms memory terms) private {
        uint256 id = _create(terms);
        _do(requester, 0, abi.encodeCall(escrow.cancel, (id, terms)));
    }

    function _inToken(address asset) private view returns (IJobEscrow.Terms memory terms) {
        terms = _own();
        terms.token = asset;
    }

    function _withdraw(address asset, address to) private returns (uint256) {
        return abi.decode(_do(requester, 0, abi.encodeCall(escrow.withdraw, (asset, to))), (uint256));
    }

    function _wish() private view returns (IJobEscrow.Withdrawal memory) {
        return IJobEscrow.Withdrawal(requester, NATIVE, TO, 1_001, _nonce(), NOW + 60);
    }

    function _for(IJobEscrow.Withdrawal memory wish, uint256 key) private view returns (bytes memory) {
        return abi.encodeCall(escrow.withdrawFor, (wish, _signature(wish, key)));
    }

    function _signature(IJobEscrow.Withdrawal memory wish, uint256 key) private view returns (bytes memory) {
        bytes32 kind = keccak256(
            "Withdrawal(address account,address token,address to,uint256 fee,uint256 nonce,uint256 deadline)"
        );
        return signed(key, keccak256(abi.encode(kind, wish)));
    }

    function _nothing(address account, address asset) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobEscrow.NothingToWithdraw.selector, account, asset);
    }

    function _wrongNonce(uint256 current) private view returns (bytes memory) {
        return abi.encodeWithSignature("InvalidAccountNonce(address,uint256)", requester, current);
    }
}
