/*
 * page.c
 *		Pages: what is common to all of them.
 *
 * A page is one file that asks nobody for anything, which its policy enforces: even a
 * name that got out of its place could load and send nothing.  All that it says is in
 * its HTML, so it can be read without the script, and printed; the script folds and
 * zooms, and moves by keys.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"

#include "render/escape.h"
#include "render/page.h"
#include "render/svg.h"
#include "render/text.h"

#define LONGEST_CELL 600
#define LONGEST_WORD 28			/* that is not broken */

/*
 * A row of the waterfall is <p style="--d:depth;--x:begin;--w:length"><b>name</b><i>how
 * long</i><samp>all there is to say</samp></p>, begin and length in hundred-thousandths of
 * the trace; --z and --o of the whole are how many times it is enlarged, and from where on.
 * Bars begin 5px inside of what cuts them off, as points have their middle at their time, and
 * end 90px before its end, where there is room for how long.
 */
static const char style[] =
"*{box-sizing:border-box}\n"
"body.tx{margin:0 auto;max-width:1240px;padding:12px 20px 60px;background:var(--bg);color:var(--fg);font:14px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif;color-scheme:light dark}\n"
"h1{font-size:22px;margin:8px 0 0;overflow-wrap:anywhere}h2{font-size:17px;margin:34px 0 6px;border-bottom:1px solid var(--line);padding-bottom:4px}\n"
".facts,.note{color:var(--dim);margin:2px 0 8px}h1 bdi,p bdi{overflow-wrap:anywhere}\n"
"nav{margin:8px 0}nav a{color:var(--fg);margin-right:14px}\n"
"svg.tx{display:block;margin:10px 0;border:1px solid var(--line);border-radius:6px}\n"
".scroll{overflow-x:auto}table{border-collapse:collapse;margin:8px 0;font-size:13px}th,td{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}td.long{overflow-wrap:anywhere;min-width:14em}td.u{white-space:nowrap}\n"
"th{color:var(--dim);font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
"td.bad{color:var(--bad);font-weight:600;white-space:nowrap}td.warn{color:var(--warn);font-weight:600;white-space:nowrap}td.k{white-space:nowrap}code{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}\n"
".wf{position:relative;font-size:12px;line-height:20px;--z:1;--o:0;--n:42%;margin-bottom:8px}\n"
".wf p{position:relative;margin:0;height:20px}.wf p.h{display:none}.wf p:hover,.wf p:focus{background:var(--soft)}.wf p:focus{outline:2px solid var(--s0);outline-offset:-2px;z-index:3}\n"
".wf b{display:block;width:var(--n);padding:0 6px 0 calc(min(var(--d),16)*12px + 14px);overflow:hidden;white-space:nowrap;text-overflow:ellipsis;font-weight:400;unicode-bidi:isolate}.wf .f{display:flex}.wf s{text-decoration:none;overflow:hidden;text-overflow:ellipsis}.wf .f u{flex:none}\n"
".wf em{color:var(--dim);font-style:normal;font-size:11px;margin-left:6px}.wf u{color:var(--dim);text-decoration:none;font-size:11px;margin-left:6px}.wf .m b{color:var(--dim)}.wf .e b,.wf .x b,.wf .e u,.wf .x u{color:var(--bad);font-weight:600}\n"
".wf i,.wf .ax{position:absolute;left:calc(var(--n) - 5px);right:0;top:0;height:20px;overflow:hidden;font-style:normal;white-space:nowrap;color:var(--dim);font-size:11px}\n"
".wf i{text-indent:calc((100% - 95px)*(var(--x) + var(--w,0) - var(--o))*var(--z)/100000 + 13px)}\n"
".wf i::before{content:'';position:absolute;top:5px;height:11px;border-radius:2px;left:calc((100% - 95px)*(var(--x) - var(--o))*var(--z)/100000 + 5px);width:max(2px,calc((100% - 95px)*var(--w,0)*var(--z)/100000));background:var(--s)}\n"
".wf .m i::before{width:6px;height:6px;top:7px;border-radius:3px;margin-left:-3px;background:var(--fg)}.wf .x.m i::before{background:var(--bad);border-radius:0;transform:rotate(45deg)}\n"
".wf .c i::before{box-shadow:0 3px 0 var(--fg)}.wf .o i::before{opacity:.5;outline:1px dashed var(--fg)}.wf .e i::before{outline:2px solid var(--bad);outline-offset:-1px}.wf .e.m i::before{background:var(--bad)}\n"
".s0{--s:var(--s0)}.s1{--s:var(--s1)}.s2{--s:var(--s2)}.s3{--s:var(--s3)}.s4{--s:var(--s4)}.s5{--s:var(--s5)}.s6{--s:var(--s6)}\n"
".wf .axis{height:22px;position:sticky;top:0;background:var(--bg);z-index:4;border-bottom:1px solid var(--line)}.wf .ax span{position:absolute;left:calc((100% - 95px)*(var(--x) - var(--o))*var(--z)/100000 + 5px);border-left:1px solid var(--line);padding-left:4px}\n"
".wf samp{display:none;position:absolute;left:18px;top:20px;z-index:5;max-width:min(760px,92%);max-height:340px;overflow:auto;padding:8px 12px;background:var(--bg);border:1px solid var(--dim);border-radius:6px;box-shadow:0 4px 14px #0004;"
"font:12px/1.45 ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}\n"
".wf p:hover samp,.wf p:focus samp{display:block}.wf p:focus samp{z-index:6}.wf p:hover{z-index:3}\n"
".wf .k b::before{content:'\\25BE';position:absolute;margin-left:-13px;color:var(--dim);cursor:pointer}.wf .k.z b::before{content:'\\25B8'}\n"
".key span{margin-right:16px;white-space:nowrap}.key span::before{content:'';display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px;background:var(--s)}\n"
".tools button{font:inherit;font-size:12px;color:var(--fg);background:var(--soft);border:1px solid var(--line);border-radius:4px;padding:1px 9px;margin-right:6px;cursor:pointer}.tools[hidden]{display:none}.tools{font-size:12px;margin-bottom:8px}.tools .note{display:inline-block;margin:4px 0 0}\n"
".share{display:inline-block;height:9px;border-radius:2px;background:var(--s,var(--dim));min-width:1px}\n"
"@media (max-width:1000px){.wf{--n:48%}table{font-size:12px}th,td{padding-right:8px}th,th.n{white-space:normal}}@media (max-width:700px){body.tx{padding:8px}.wf{--n:50%}}\n"
"@media print{body.tx,svg.tx,.tx{--bg:#fff;--fg:#000;--dim:#444;--line:#bbb;--soft:#f3f5f8;--bad:#b83200;--good:#006d4f;--warn:#8a5a00;--s0:#0072b2;--s1:#d08600;--s2:#009e73;--s3:#b3608f;--s4:#3d9fd8;--s5:#8c6d31;--s6:#707885}"
"body.tx{max-width:none;padding:0;font-size:11px;-webkit-print-color-adjust:exact;print-color-adjust:exact}nav,.tools,.wf samp{display:none!important}svg.tx,.wf p,tr{break-inside:avoid}h2{break-after:avoid}.wf .axis{position:relative}}\n"
"@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}\n";

/* Everything here works on rows that are there; it makes no element of a text. */
static const char script[] =
"(function(){'use strict';var wf=document.querySelector('.wf');if(!wf)return;\n"
"var rows=Array.prototype.slice.call(wf.querySelectorAll('p'));if(!rows.length)return;var z=1,o=0,now=0;\n"
"function num(e,n){return parseFloat(e.style.getPropertyValue(n))||0}\n"
"var d=rows.map(function(e){return num(e,'--d')});\n"
"rows.forEach(function(e,i){e.tabIndex=i?-1:0;e.setAttribute('role','treeitem');e.setAttribute('aria-level',d[i]+1);if(d[i+1]>d[i]){e.classList.add('k');e.setAttribute('aria-expanded','true')}});\n"
"wf.setAttribute('role','tree');\n"
"function show(){var hide=Infinity;rows.forEach(function(e,i){if(d[i]<=hide)hide=Infinity;e.classList.toggle('h',hide<Infinity);if(hide===Infinity&&e.classList.contains('z'))hide=d[i]})}\n"
"function fold(i,shut){var e=rows[i];if(!e.classList.contains('k'))return;e.classList.toggle('z',shut);e.setAttribute('aria-expanded',String(!shut))}\n"
"function view(nz,no){z=Math.min(Math.max(nz,1),5000);o=Math.min(Math.max(no,0),1e5-1e5/z);wf.style.setProperty('--z',z);wf.style.setProperty('--o',o);ticks()}\n"
"function zoom(by,at){if(at===undefined)at=.5;var c=o+1e5/z*at;view(z*by,c-1e5/(z*by)*at)}\n"
"function words(us){return us<1e3?+us.toPrecision(4)+' us':us<1e6?+(us/1e3).toPrecision(4)+' ms':us<6e7?+(us/1e6).toPrecision(4)+' s':us<36e8?+(us/6e7).toPrecision(4)+' min':+(us/36e8).toPrecision(4)+' h'}\n"
"function ticks(){var ax=wf.querySelector('.ax'),all=+wf.dataset.us;if(!ax||!all)return;while(ax.firstChild)ax.removeChild(ax.firstChild);\n"
"var span=all/z,p=Math.pow(10,Math.floor(Math.log10(span/6))),s=[1,2,5,10].map(function(k){return k*p}).find(function(k){return k>=span/6}),from=Math.ceil(o/1e5*all/s)*s;\n"
"for(var t=from;t<=o/1e5*all+span*1.0001;t+=s){var e=document.createElement('span');e.style.setProperty('--x',t/all*1e5);e.textContent=t?words(t):'0';ax.appendChild(e)}}\n"
"function go(i){if(i<0||i>=rows.length)return;rows[now].tabIndex=-1;now=i;rows[now].tabIndex=0;rows[now].focus()}\n"
"function step(by){for(var i=now+by;i>=0&&i<rows.length;i+=by)if(!rows[i].classList.contains('h'))return go(i)}\n"
"function all(shut){rows.forEach(function(e,i){fold(i,shut&&d[i]>0)});show()}\n"
"function row(e){while(e&&e.tagName!=='P')e=e.parentNode;return e?rows.indexOf(e):-1}\n"
"function fit(i){var w=num(rows[i],'--w');if(!w)return;view(1e5/(w*1.1),num(rows[i],'--x')-w*.05)}\n"
"wf.addEventListener('click',function(v){if(v.target.closest('samp'))return;var i=row(v.target);if(i<0)return;var b=rows[i].querySelector('b'),l=v.clientX-b.getBoundingClientRect().left;\n"
"if(rows[i].classList.contains('k')&&l<Math.min(d[i],16)*12+16){fold(i,!rows[i].classList.contains('z'));show()}rows[now].tabIndex=-1;now=i;rows[i].tabIndex=0});\n"
"wf.addEventListener('dblclick',function(v){if(v.target.closest('samp'))return;var i=row(v.target);if(i>=0)fit(i)});\n"
"wf.addEventListener('focusin',function(v){var i=row(v.target);if(i>=0)now=i});\n"
"wf.addEventListener('wheel',function(v){if(v.ctrlKey||v.metaKey){var r=wf.getBoundingClientRect(),n=rows[0].querySelector('b').offsetWidth;v.preventDefault();zoom(v.deltaY<0?1.25:.8,Math.min(Math.max((v.clientX-r.left-n)/(r.width-n-90),0),1))}\n"
"else if(z>1&&(v.shiftKey||Math.abs(v.deltaX)>Math.abs(v.deltaY))){v.preventDefault();view(z,o+(v.deltaX||v.deltaY)/600*1e5/z)}},{passive:false});\n"
"wf.addEventListener('keydown',function(v){var k=v.key,c=rows[now].classList;if(v.altKey||v.ctrlKey||v.metaKey)return;\n"
"if(k==='ArrowDown')step(1);else if(k==='ArrowUp')step(-1);else if(k==='Home')go(0);else if(k==='End'){now=rows.length;for(var i=rows.length-1;i>=0;i--)if(!rows[i].classList.contains('h')){now=0;go(i);break}}\n"
"else if(k==='ArrowRight'&&v.shiftKey)view(z,o+2e4/z);else if(k==='ArrowLeft'&&v.shiftKey)view(z,o-2e4/z);\n"
"else if(k==='ArrowRight'){if(c.contains('z')){fold(now,false);show()}else step(1)}else if(k==='ArrowLeft'){if(c.contains('k')&&!c.contains('z')){fold(now,true);show()}else{for(var j=now;j>=0&&d[j]>=d[now];j--);if(j>=0)go(j)}}\n"
"else if(k==='Enter'||k===' '){if(c.contains('k')){fold(now,!c.contains('z'));show()}}else if(k==='+'||k==='=')zoom(1.5);else if(k==='-')zoom(1/1.5);else if(k==='0')view(1,0);else if(k==='f')fit(now);else if(k==='Escape')rows[now].blur();else return;v.preventDefault()});\n"
"var acts={'in':function(){zoom(1.5)},'out':function(){zoom(1/1.5)},'whole':function(){view(1,0)},'fold':function(){all(true)},'unfold':function(){all(false)}},tools=document.querySelector('.tools');\n"
"tools.hidden=false;tools.addEventListener('click',function(v){var a=v.target.dataset&&acts[v.target.dataset.do];if(a)a()});\n"
"})();\n";

/* Everything up to the first section. Title and facts come as they are. */
void
tex_page_begin(StringInfo out, const char *title, const char *facts)
{
	appendStringInfoString(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
						   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n"
						   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n<title>");
	tex_put_clean(out, title);
	appendStringInfo(out, "</title>\n<style>\n%s\n%s</style>\n</head>\n<body class=\"tx\">\n", tex_picture_style, style);
	tex_page_text(out, "h1", title);
	appendStringInfoString(out, "<p class=\"facts\"><bdi>");
	tex_put_clean(out, facts);
	appendStringInfoString(out, "</bdi></p>\n");
}

/* The script, and the end. */
void
tex_page_end(StringInfo out)
{
	appendStringInfo(out, "<script>\n%s</script>\n</body>\n</html>", script);
}

/* A heading, by which the section is found as well; words of ours. */
void
tex_page_section(StringInfo out, const char *heading)
{
	appendStringInfoString(out, "<h2 id=\"");
	for (const char *at = heading; *at; at++)
		appendStringInfoChar(out, *at == ' ' ? '-' : pg_tolower((unsigned char) *at));
	appendStringInfo(out, "\">%s</h2>\n", heading);
}

/* A text as an element of its own; it may be as long as a cell. */
void
tex_page_text(StringInfo out, const char *tag, const char *text)
{
	StringInfoData clean;

	initStringInfo(&clean);
	tex_clean(&clean, text, strlen(text), LONGEST_CELL);
	appendStringInfo(out, "<%s><bdi>", tag);
	tex_put_xml(out, clean.data);
	appendStringInfo(out, "</bdi></%.*s>\n", (int) strcspn(tag, " "), tag);
	pfree(clean.data);
}

/* Whether values of a type stand to the right of their column. */
static bool
is_number(Oid type)
{
	return type == INT4OID || type == INT8OID || type == FLOAT8OID || type == NUMERICOID;
}

/* Whether a text has a word that is too long for a column. */
static bool
has_long_word(const char *text)
{
	for (const char *at = text; *at; at += strspn(at, " -"))
	{
		size_t		word = strcspn(at, " -");

		if (word > LONGEST_WORD)
			return true;
		at += word;
	}
	return false;
}

/* What a cell is to be seen as: some words mean that something is wrong. */
static const char *
class_of(const char *text, Oid type)
{
	static const char *const bad[] = {"CRITICAL", "critical", "silent", "firing", "lost update"};
	static const char *const warn[] = {"WARNING", "degraded", "pending"};

	if (is_number(type))
		return " class=\"n\"";
	if (type == UUIDOID)
		return " class=\"u\"";
	for (size_t i = 0; i < lengthof(bad); i++)
		if (strcmp(text, bad[i]) == 0)
			return " class=\"bad\"";
	for (size_t i = 0; i < lengthof(warn); i++)
		if (strcmp(text, warn[i]) == 0)
			return " class=\"warn\"";
	return has_long_word(text) ? " class=\"long\"" : "";
}

/* A text in a cell of its own, which breaks a word that is too long for it; NULL: an empty one. */
void
tex_page_cell(StringInfo out, const char *text)
{
	StringInfoData clean;

	initStringInfo(&clean);
	if (text)
		tex_clean(&clean, text, strlen(text), LONGEST_CELL);
	appendStringInfo(out, "<td%s><bdi>", has_long_word(clean.data) ? " class=\"long\"" : "");
	tex_put_xml(out, clean.data);
	appendStringInfoString(out, "</bdi></td>");
	pfree(clean.data);
}

/* A row of the table that SPI has. */
static void
put_row(StringInfo out, SPITupleTable *table, uint64 row)
{
	appendStringInfoString(out, "<tr>");
	for (int i = 1; i <= table->tupdesc->natts; i++)
	{
		char	   *value = SPI_getvalue(table->vals[row], table->tupdesc, i);
		StringInfoData clean;

		initStringInfo(&clean);
		if (value)
			tex_clean(&clean, value, strlen(value), LONGEST_CELL);
		appendStringInfo(out, "<td%s><bdi>", class_of(clean.data, SPI_gettypeid(table->tupdesc, i)));
		tex_put_xml(out, clean.data);
		appendStringInfoString(out, "</bdi></td>");
		pfree(clean.data);
	}
	appendStringInfoString(out, "</tr>\n");
}

/* The rows of a query as a table, or a sentence if there are none; returns how many there are. Within SPI. */
uint64
tex_page_table(StringInfo out, const char *query, int nargs, Oid *types, Datum *values, const char *unless)
{
	SPITupleTable *table;
	uint64		n;

	SPI_execute_with_args(query, nargs, types, values, NULL, true, 0);
	table = SPI_tuptable;
	n = SPI_processed;
	if (n == 0)
		tex_page_text(out, "p class=\"note\"", unless);
	else
	{
		appendStringInfoString(out, "<div class=\"scroll\"><table>\n<tr>");
		for (int i = 1; i <= table->tupdesc->natts; i++)
		{
			appendStringInfo(out, "<th%s>", is_number(SPI_gettypeid(table->tupdesc, i)) ? " class=\"n\"" : "");
			tex_put_clean(out, SPI_fname(table->tupdesc, i));
			appendStringInfoString(out, "</th>");
		}
		appendStringInfoString(out, "</tr>\n");
		for (uint64 i = 0; i < n; i++)
			put_row(out, table, i);
		appendStringInfoString(out, "</table></div>\n");
	}
	SPI_freetuptable(table);
	return n;
}
