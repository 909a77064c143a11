from harness.talk import talk
from harness.prompts import spoken
def test_t(switch):
    async def script(session):
        await session.answer()
        r = await session.execute("transfer","900 XML contract")
        print("after", r, session.ready(), session.hangup_status(), session.get_state())
        await session.stream_file("tone_stream://%(300,0,500)")
        print("after2", session.ready(), session.hangup_status(), session.get_state())
    async def caller(call):
        try: await call.ended(5)
        finally: print(call)
    talk(switch, script, caller)
def test_d(switch):
    async def script(session):
        await session.answer()
        await session.set_variable("timezone", "GMT")
        await session.say("1600000", "en", "current_date", "pronounced")
    async def caller(call):
        await call.ended(5)
        print(spoken(call.ear.tones()))
    talk(switch, script, caller)
