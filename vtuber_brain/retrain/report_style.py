"""How our pages look: one sheet for the report and the blind sheet, light and dark, readable at 1280 by 720."""

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#22252a;--soft:#6a6f78;--line:#dedbd3;--card:#fff;
--t1:#2f6fb0;--t2:#9a6b1f;--t3:#b0413e;--good:#2e7d4f;--bad:#b0413e;--wait:#9a6b1f}
@media (prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#e7e5df;--soft:#9aa0aa;--line:#33373e;--card:#1e2126;
--t1:#7fb4ea;--t2:#e0b060;--t3:#ef8783;--good:#6fcf97;--bad:#ef8783;--wait:#e0b060}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header,main{max-width:1180px;margin:0 auto;padding:0 24px}
header{border-left:6px solid var(--soft);margin-top:24px;padding:4px 24px}
header.release{border-color:var(--good)}header.reject{border-color:var(--bad)}header.hold{border-color:var(--wait)}
header.release h1 b{color:var(--good)}header.reject h1 b{color:var(--bad)}header.hold h1 b{color:var(--wait)}
h1{font-size:28px;line-height:1.25;margin:2px 0 6px;font-weight:600}
h2{font-size:18px;margin:30px 0 8px}h3{font-size:15px;margin:16px 0 6px}
p{margin:6px 0}.soft,small{color:var(--soft)}small{margin-left:auto}
.veto{display:inline-block;background:var(--bad);color:var(--paper);border-radius:4px;padding:1px 9px;margin-right:6px}
.human{border:1px dashed var(--wait);padding:4px 10px;border-radius:4px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)}
td{overflow-wrap:anywhere;white-space:pre-wrap}td code{white-space:nowrap}
#facts th{display:none}#facts td:first-child{color:var(--soft);width:200px}
summary{cursor:pointer;color:var(--soft);padding:6px 0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:0 24px}.plots h2{grid-column:1/-1}
figure{margin:0}figcaption{display:flex;gap:16px;align-items:baseline}
svg{width:100%;height:auto}.grid{stroke:var(--line)}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.tick{fill:var(--soft);font-size:11px;text-anchor:middle}.up{text-anchor:end;dominant-baseline:middle}
.line.tone1{stroke:var(--t1)}.line.tone2{stroke:var(--t2)}.line.tone3{stroke:var(--t3)}
.dot{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:6px}
.dot.tone1{background:var(--t1)}.dot.tone2{background:var(--t2)}.dot.tone3{background:var(--t3)}
.bars .row{display:grid;grid-template-columns:200px 1fr 80px;gap:12px;align-items:center;padding:2px 0}
.bar::before{content:"";display:block;height:12px;min-width:2px;border-radius:3px;background:var(--t1);
width:calc(var(--share)*100%)}
.name{overflow-wrap:anywhere}.number{font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(360px,1fr));gap:14px}
article{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.prompt{font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere}
dl{margin:0}dt{color:var(--soft);font-size:13px;margin-top:6px}dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
main{padding-bottom:40px}
.choices{display:grid;grid-template-columns:1fr 1fr;gap:14px}
.choices button,.bar-of button{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:12px 14px;text-align:left;cursor:pointer;white-space:pre-wrap;overflow-wrap:anywhere}
button:hover,button:focus-visible{border-color:var(--t1);outline:none}
kbd{border:1px solid var(--line);border-radius:4px;padding:0 6px;color:var(--soft);font-size:13px}
textarea{width:100%;height:220px;font:13px ui-monospace,monospace;background:var(--card);color:inherit}
[hidden]{display:none}
"""
