import dataclasses, pytest
import tests.model.test_pipeline_model as m
from ledger.commands import recommendation as people, request as requests, case as cases, agent as agents
import api.commands.answering as answering
from ledger.errors import Refused
api=m.api
def same_person(mp): 
    orig=people._waiting
    mp.setattr(people,"_waiting",lambda c,d: dataclasses.replace(orig(c,d), by="nobody"))
def no_guard(mp): mp.setattr(answering,"_guard",lambda actor,version: {})
def digest(mp): mp.setattr(people,"_check_digest",lambda *a: None)
def place(mp):
    mp.setattr(requests,"OPEN_TO_ANOTHER",frozenset({"rejected","communicated","edited"}))
def decline(mp):
    mp.setattr(cases.Recommendation,"standing",property(lambda self: self.digest))
def twice(mp):
    orig=requests.check_end
    def check(case, call_id, by):
        call=case.calls.get(call_id)
        if call is not None and call.event.by==by: return call
        return orig(case,call_id,by)
    mp.setattr(requests,"check_end",check)
def schema(mp): mp.setattr(requests.answers,"check",lambda *a: None)
@pytest.mark.parametrize("mut",[same_person,no_guard,digest,place,decline,twice,schema], ids=lambda f:f.__name__)
def test_mut(api, mut, monkeypatch):
    mut(monkeypatch)
    with pytest.raises(BaseException):
        from hypothesis import settings, Phase
        settings.register_profile("q", phases=[Phase.generate], max_examples=10); 
        m.run(api, 10, 25)
