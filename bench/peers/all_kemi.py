"""Peer: everything in Python, requests within dialogs and replies too; our own decision. Loaded by all_kemi.cfg."""

from __future__ import annotations

import time
from typing import Any

import KSR

from kemi import reading, routing

FLB_RINGING = 1
HANDLED = 1


class Handler(routing.Handler):
    """kamailio.cfg's routes as methods of the same names."""

    def ksr_request_route(self, msg: Any) -> int:
        """request_route."""
        if KSR.maxfwd.process_maxfwd(70) < 0:
            KSR.hdr.append_to_reply('Reason: Q.850;cause=25;text="too-many-hops"\r\n')
            KSR.sl.sl_send_reply(483, "Too Many Hops")
            return HANDLED
        if KSR.sanity.sanity_check(17895, 7) < 0:
            return HANDLED
        method = KSR.pv.get("$rm")
        if method == "CANCEL":
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
            else:
                KSR.sl.sl_send_reply(481, "No Such Call")
            return HANDLED
        KSR.force_rport()
        if KSR.siputils.has_totag() > 0:
            self._within_dialog(method)
            return HANDLED
        if KSR.tmx.t_precheck_trans() > 0:
            KSR.tm.t_check_trans()
            return HANDLED
        KSR.tm.t_check_trans()
        if method == "ACK":
            return HANDLED
        if method == "OPTIONS":
            KSR.sl.sl_send_reply(200, "OK")
            return HANDLED
        if method != "INVITE":
            KSR.sl.sl_send_reply(405, "Method Not Allowed")
            return HANDLED
        KSR.hdr.remove("Route")
        KSR.rr.record_route()
        # Nothing native has put the values together.
        KSR.pv.sets(reading.INVITE, "")
        if self.on_call(msg, None) < 0:
            self._internal_error()
        return HANDLED

    def _within_dialog(self, method: str) -> None:
        if KSR.rr.loose_route() > 0:
            if KSR.dialog.is_known_dlg() < 0 and self.on_unknown_dialog(None, None) < 0:
                KSR.sl.sl_send_reply(481, "No Such Call")
                return
            if method == "NOTIFY":
                KSR.rr.record_route()
            if method == "BYE":
                KSR.tm.t_check_trans()
                call = KSR.pv.get(routing.CALL_OF_DIALOG)
                by = "callee" if KSR.rr.is_direction("upstream") > 0 else "caller"
                self.on_record(None, f'{{"event":"ended","call":"{call}","at":{time.time()},"by":"{by}"}}\n')
            if KSR.tm.t_relay() < 0:
                KSR.sl.sl_reply_error()
        elif method == "ACK":
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
        else:
            KSR.sl.sl_send_reply(404, "Not Here")

    def GATEWAY_REPLY(self, _msg: Any) -> int:
        """onreply_route."""
        status = KSR.pv.get("$rs")
        if 180 <= status <= 183:
            if KSR.isbflagset(FLB_RINGING) < 0:
                KSR.setbflag(FLB_RINGING)
                KSR.pv.sets(reading.RANG, str(time.time()))
            KSR.tm.t_set_fr(KSR.pv.get(routing.RING) or int(routing.USUAL_RING * 1000), 0)
        elif 200 <= status < 300:
            call, attempt = KSR.pv.get(routing.CALL_ID), KSR.pv.get(routing.ATTEMPT) or 1
            rang, head = KSR.pv.get(reading.RANG) or "null", f'{{"event":"answered","call":"{call}"'
            line = f'{head},"at":{time.time()},"attempt":{attempt},"status":{status},"rang":{rang}}}\n'
            self.on_record(None, line)
        return HANDLED

    def GATEWAY_FAILED(self, msg: Any) -> int:
        """failure_route."""
        if KSR.tm.t_is_canceled() > 0:
            if KSR.tm.t_check_status("487") < 0:
                KSR.sl.send_reply(487, "Request Terminated")
        elif self.on_failure(msg, None) < 0:
            self._internal_error()
        return HANDLED

    def _internal_error(self) -> None:
        KSR.hdr.append_to_reply('Reason: Q.850;cause=41;text="internal-error"\r\n')
        KSR.sl.send_reply(500, "Internal Error")


def mod_init() -> Any:
    """The object whose methods Kamailio calls."""
    return Handler()
