"""Domains that people write when they mean one of the large mailbox providers. Pure data.

Only what is no mailbox provider's own: `ymail.com`, `gmx.com` and `live.de` are right as they are.
"""

MISSPELT = {
    wrong: meant
    for meant, wrongs in {
        "gmail.com": (
            "gmial.com gmai.com gmal.com gmil.com gamil.com gmaill.com gmaik.com gmali.com "
            "gnail.com gmsil.com gimail.com gmeil.com ggmail.com gmaul.com gmqil.com "
            "gmail.con gmail.co gmail.cm gmail.om gmail.comm gmail.cpm gmail.vom gmail.ocm "
            "gmail.coom gmail.cim gmailcom.com googlemail.con gmail.de.com"
        ),
        "hotmail.com": (
            "hotmial.com hotmai.com hotmal.com hotmil.com hotmaill.com hotmali.com hotnail.com "
            "hotamil.com homail.com hitmail.com hotmeil.com hotmail.con hotmail.co hotmail.cm "
            "hotmail.om hotmail.comm hotmail.vom hotmail.cpm"
        ),
        "outlook.com": (
            "outlok.com outloo.com outlool.com outllok.com oulook.com outook.com otulook.com "
            "outlook.con outlook.co outlook.cm outlook.om"
        ),
        "yahoo.com": (
            "yaho.com yahooo.com yhaoo.com yhoo.com yaoo.com yahho.com yajoo.com uahoo.com "
            "yahoo.con yahoo.cm yahoo.om yahoo.comm yahoo.vom yahoo.cpm"
        ),
        "icloud.com": (
            "iclod.com icoud.com iclound.com icloude.com icluod.com icloud.con icloud.co icloud.cm "
            "icloud.om"
        ),
        "aol.com": "aol.con aol.co aol.cm ao.com aoll.com",
        "gmx.de": "gmx.ed gmx.dee gmxx.de gxm.de",
        "gmx.net": "gmx.nett gmx.ent gmx.nte",
        "web.de": "web.ed web.dee wbe.de webb.de",
        "t-online.de": "t-onlin.de t-onlien.de t-onine.de tonline.de",
        "live.com": "live.con live.cm live.om livee.com",
        "msn.com": "msn.con msn.cm mns.com",
        "libero.it": "liberto.it libero.ti libbero.it",
        "orange.fr": "ornage.fr orange.rf oragne.fr",
        "mail.ru": "mail.ur mial.ru maill.ru",
        "proton.me": "protn.me proton.em",
        "protonmail.com": "protonmial.com protonmail.con protonmal.com",
    }.items()
    for wrong in wrongs.split()
}
"""By what is written: what is meant."""
