session:answer()
session:streamFile("tone_stream://%(200,0,440)")
session:hangup()
