from __future__ import annotations

import pytest

from oracle.chain.localnet import advance_time

BUDGET = 10**16


@pytest.fixture
def job(qscrow, wallet) -> int:
    qscrow("init", "job.yaml")
    return qscrow("submit", "job.yaml", "--oracle", "oracle", "--yes", "--json").json["job"]


def test_cancel__own_job__credits_the_payer(qscrow, wallet, job):
    before = int(qscrow("balance", "--json").json["credit"])

    done = qscrow("cancel", job, "--json").json

    assert (done["state"], done["to_payer"]) == ("Cancelled", str(BUDGET))
    assert done["transaction"].startswith("0x")
    assert int(qscrow("balance", "--json").json["credit"]) == before + BUDGET


def test_cancel__text__says_what_was_credited_and_what_to_do(qscrow, wallet, job):
    said = qscrow("cancel", job).out

    assert f"Job {job} is Cancelled, 0.01 ether back to the payer" in said
    assert "qscrow withdraw" in said


def test_cancel__somebody_elses_job__sends_nothing(qscrow, wallet, job, untouched):
    untouched()

    failed = qscrow("cancel", job, "--account", "stranger")

    assert failed.code == 3
    assert "NotAllowed" in failed.error and "use the account the terms name" in failed.error


def test_refund__too_early__says_when_and_sends_nothing(qscrow, wallet, job, untouched):
    untouched()

    failed = qscrow("refund", job)

    assert failed.code == 3
    assert "has time until 2" in failed.error and "UTC; try again after that" in failed.error


def test_refund__nobody_accepted__anyone_returns_the_money(qscrow, wallet, job):
    advance_time(wallet.chain.w3, 3601)

    done = qscrow("refund", job, "--account", "stranger", "--json").json

    assert (done["state"], done["to_payer"], done["held"]) == ("Expired", str(BUDGET), "0")


def test_refund__twice__second_sends_nothing(qscrow, wallet, job, untouched):
    qscrow("cancel", job)
    untouched()

    failed = qscrow("refund", job)

    assert failed.code == 3
    assert "is Cancelled and holds no money; `qscrow withdraw`" in failed.error


def test_withdraw__credit__goes_to_the_named_account_once(qscrow, wallet, job):
    qscrow("cancel", job)
    owed = qscrow("balance", "--json").json["credit"]
    before = wallet.chain.balance(wallet.address("pauper"))

    done = qscrow("withdraw", "--to", "pauper", "--json").json

    assert set(done) == {"amount", "token", "to", "transaction", "gas", "fee"}
    assert (done["amount"], done["token"], done["to"]) == (owed, "native", wallet.address("pauper"))
    assert wallet.chain.balance(wallet.address("pauper")) == before + int(owed)
    again = qscrow("withdraw", "--to", "pauper")
    assert (again.code, "nothing is owed to" in again.error) == (3, True)


def test_withdraw__text__names_amount_and_receiver(qscrow, wallet, job):
    qscrow("cancel", job)

    assert f"ether sent to {wallet.address('requester')} (0x" in qscrow("withdraw").out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--to", "nobody"], 2, "to: 'nobody' is neither an address nor an account here"),
        (["--to", "0x0"], 2, "to: '0x0' is not an address"),
        (["--token", "dollar"], 2, "token: 'dollar' is not an address"),
        (["--token", "0x" + "11" * 20], 3, "nothing is owed to"),
        (["--account", "pauper"], 3, "nothing is owed to"),
    ],
)
def test_withdraw__unusable_option__sends_nothing(qscrow, wallet, untouched, options, code, said):
    untouched()

    failed = qscrow("withdraw", *options)

    assert said in failed.error
    assert failed.code == code


def test_balance__account__what_it_holds_and_is_owed(qscrow, wallet):
    shown = qscrow("balance", "--account", "pauper", "--json").json

    assert set(shown) == {"address", "balance", "token", "credit"}
    assert shown["address"] == wallet.address("pauper")
    assert int(shown["balance"]) == wallet.chain.balance(wallet.address("pauper"))
    assert wallet.address("oracle") in qscrow("balance", "--account", "oracle").out


def test_balance__needs_no_password(qscrow, wallet, home):
    (home / "password").unlink()

    assert qscrow("balance").code == 0
