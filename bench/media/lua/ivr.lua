session:answer()
local digits = session:playAndGetDigits(1, 1, 1, 3000, "#", "tone_stream://%(400,0,350)", "silence_stream://10", "\\d")
if digits == "1" then
   local folder = session:getVariable("sip_h_X-Strowger-Args")
   session:recordFile(folder .. "/" .. session:get_uuid() .. ".wav", 1, 0, 0)
   session:hangup()
else
   session:hangup("INVALID_NUMBER_FORMAT")
end
