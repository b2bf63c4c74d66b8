"""What a server's reply means, to ``probe`` as to ``run``."""

from __future__ import annotations

from itertools import product

import pytest

from client_view_factory import session, view
from port25lab.model.evidence import Observation, Stage, enhanced_code
from port25lab.model.mechanism import Mechanism
from port25lab.probe.ambiguous import explain
from port25lab.probe.case import Diagnosis
from port25lab.probe.classify import classify
from port25lab.verdict.replies import of_reply

REPLIES = (
    (450, "4.7.1 Greylisted, come back later"),
    (451, "4.7.1 Try again later"),
    (451, "4.3.0 Temporary lookup failure"),
    (421, "4.7.0 Too many connections from your IP"),
    (450, "4.7.1 gray list in force"),
    (450, "4.7.1 Client host blocked using zen.spamhaus.org"),
    (454, "4.7.1 Relay access denied"),
    (530, "5.7.0 Must issue a STARTTLS command first"),
    (530, "5.7.0 Authentication required"),
    (535, "5.7.8 Error: authentication failed"),
    (550, "5.7.1 Unable to relay"),
    (550, "5.1.1 User not listed in Domino Directory"),
    (550, "5.7.1 Your address is on our block list"),
    (550, "5.7.1 Mail from dynamic IP addresses is not accepted, use your provider's relay"),
    (554, "5.7.1 Service unavailable; Client host [192.0.2.7] blocked using dnsbl.example"),
    (554, "5.7.1 Listed by dnsbl.example"),
    (554, "5.7.1 No mail from you"),
    (554, "5.7.1 blocked, use your provider's relay"),
    (552, "5.3.4 Message too big"),
)
STAGES = (Stage.BANNER, Stage.EHLO, Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.DATA)


def diagnosed(code: int, text: str, stage: Stage, **more: object) -> Diagnosis:
    refused = session(25, stage, smtp_code=code, enhanced_code=enhanced_code(text), reply=text, **more)
    found = classify(view(refused), 25, 4)
    assert found
    return found


@pytest.mark.parametrize(("code", "text"), REPLIES)
def test_the_same_reply_means_the_same_to_run_and_probe(code: int, text: str) -> None:
    for stage in STAGES:
        observed = Observation(stage=stage, smtp_code=code, enhanced_code=enhanced_code(text), reply=text)
        judged = of_reply(observed)
        assert judged
        assert diagnosed(code, text, stage).mechanism is judged.mechanism, stage


def test_a_reply_alone_is_no_proof_and_every_doubt_has_its_reason() -> None:
    for (code, text), stage in product(REPLIES, STAGES):
        found = diagnosed(code, text, stage)
        assert Mechanism.SERVER_REFUSAL in found.candidates
        assert found.certain or explain(found.candidates), (code, text, stage)


def test_a_reply_that_greylisting_and_a_fault_share_leaves_a_doubt() -> None:
    found = diagnosed(451, "4.7.1 Try again later", Stage.RCPT)
    assert (found.mechanism, found.alternatives) == (Mechanism.SERVER_REFUSAL, (Mechanism.GREYLISTING,))
    assert diagnosed(451, "4.7.1 Try again later", Stage.RCPT, second_try=250).mechanism is Mechanism.GREYLISTING


def test_a_server_whose_reply_says_that_the_connection_was_closed_has_not_closed_it() -> None:
    words = "the connection was closed"
    cut = classify(view(session(25, Stage.EHLO, reply=words, closed=True)), 25, 4)
    odd = classify(view(session(25, Stage.EHLO, reply=words)), 25, 4)
    assert cut and odd
    assert (cut.mechanism, odd.mechanism) == (Mechanism.SESSION_CUT, Mechanism.UNKNOWN)
