from pathlib import Path
def test_x(finished, tmp_path):
    print(finished.stale(), finished.litter())
    assert not finished.stale()
    m=finished.copy(tmp_path/"root")
    for n in ("2026-03-01","2026-03-02","2026-03-03"):
        d=m.night(n,"--force"); print(d.err); assert d.code==0
    assert m.published()==finished.published()
    assert m.litter()==[]
