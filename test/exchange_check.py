# exchange_check.py
#		Are exports what their formats are, and do they say what the events say?
#
# exchange_check.py EVENTS OTLP JAEGER ZIPKIN CHROME: the events as JSON (an array of rows, with
# "start_us" and "end_us" of event_extent()), and the four exports of all their traces.  Prints each
# breach, and exits with 1 if there is any.
import collections
import json
import re
import sys

breaches = []


def require(what, *shown):
    def wrong(condition):
        if not condition:
            breaches.append(what + ' ' + ' '.join(repr(s)[:200] for s in shown))
        return condition
    return wrong


def check(condition, what, *shown):
    require(what, *shown)(condition)


def hexadecimal(text, length):
    return isinstance(text, str) and re.fullmatch(f'[0-9a-f]{{{length}}}', text) is not None and text != '0' * length


def integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def check_ids(events, said, logs):
    """Each event is somewhere: by its own id, or as a span of OpenTelemetry or what was made of one; a log record has no id to show."""
    for e in events:
        trace, span = e['trace_id'].replace('-', ''), e['id'].replace('-', '')[:16]
        spans = said[trace if trace != '0' * 32 else 'f' * 32]
        check(e['id'] in spans or span in spans or (e['id'].replace('-', '')[16] in '89abcdef' and (trace, span) in logs), 'event is nowhere', e['trace_id'], e['id'], e['kind'])


def otlp_strings(value):
    if isinstance(value, dict):
        for k, v in value.items():
            yield from otlp_strings(v)
    elif isinstance(value, list):
        for v in value:
            yield from otlp_strings(v)
    elif isinstance(value, str):
        yield value


def check_any_value(value):
    types = {'stringValue': str, 'boolValue': bool, 'intValue': str, 'doubleValue': (int, float, str), 'bytesValue': str, 'arrayValue': dict, 'kvlistValue': dict}
    check(isinstance(value, dict) and len(value) <= 1, 'a value has one type', value)
    for k, v in value.items():
        check(k in types and isinstance(v, types[k]), 'type of value', k, v)
        if k == 'intValue':
            check(-2**63 <= int(v) < 2**63, 'intValue', v)
        if k in ('arrayValue', 'kvlistValue'):
            for element in v['values']:
                check_any_value(element if k == 'arrayValue' else element['value'])


def check_attributes(attributes):
    keys = [a['key'] for a in attributes]
    check(len(keys) == len(set(keys)), 'keys are unique', keys)
    for a in attributes:
        check_any_value(a['value'])


def check_otlp(document, events):
    said = collections.defaultdict(set)
    seen = set()
    check(set(document) <= {'resourceSpans', 'resourceLogs'}, 'members', list(document))
    for group in document.get('resourceSpans', []):
        check_attributes(group['resource'].get('attributes', []))
        for scope in group['scopeSpans']:
            for s in scope['spans']:
                check(hexadecimal(s['traceId'], 32) and hexadecimal(s['spanId'], 16), 'ids', s['traceId'], s['spanId'])
                check('parentSpanId' not in s or hexadecimal(s['parentSpanId'], 16), 'parent', s)
                check((s['traceId'], s['spanId']) not in seen, 'span is there twice', s['traceId'], s['spanId'])
                seen.add((s['traceId'], s['spanId']))
                check(0 < int(s['startTimeUnixNano']) < 2**64 and int(s.get('endTimeUnixNano', 0)) < 2**64, 'times', s)
                check_attributes(s.get('attributes', []))
                for e in s.get('events', []):
                    check(int(e.get('timeUnixNano', 0)) < 2**64, 'time of event', e)
                    check_attributes(e.get('attributes', []))
                said[s['traceId']] |= {s['spanId']} | set(otlp_strings(s))
    for group in document.get('resourceLogs', []):
        for scope in group['scopeLogs']:
            for r in scope['logRecords']:
                said[r['traceId']].add(r.get('spanId', ''))
    return said


def check_jaeger(document, events):
    said = collections.defaultdict(set)
    tag_types = {'string': (str,), 'bool': (bool,), 'int64': (int, str), 'float64': (int, float)}

    def check_tags(tags):
        for t in tags:
            check(set(t) == {'key', 'type', 'value'} and isinstance(t['value'], tag_types[t['type']]), 'tag', t)
            if isinstance(t['value'], bool):
                check(t['type'] == 'bool', 'type of tag', t)

    check(set(document) == {'data', 'total', 'limit', 'offset', 'errors'}, 'members', list(document))
    for trace in document['data']:
        check(hexadecimal(trace['traceID'], 32) and trace['warnings'] is None, 'trace', trace['traceID'])
        ids = [s['spanID'] for s in trace['spans']]
        check(len(ids) == len(set(ids)) and ids, 'spans are unique', ids)
        for s in trace['spans']:
            check(s['traceID'] == trace['traceID'] and hexadecimal(s['spanID'], 16), 'ids', s['spanID'])
            check(integer(s['startTime']) and integer(s['duration']) and s['duration'] >= 0, 'times', s['startTime'], s['duration'])
            check(isinstance(s['operationName'], str) and s['processID'] in trace['processes'] and s['warnings'] is None, 'span', s['spanID'])
            check_tags(s['tags'])
            for r in s['references']:
                check(r['refType'] in ('CHILD_OF', 'FOLLOWS_FROM') and hexadecimal(r['traceID'], 32) and hexadecimal(r['spanID'], 16), 'reference', r)
                check(r['spanID'] != s['spanID'] or r['traceID'] != s['traceID'], 'a span is not its own parent', r)
            for log in s['logs']:
                check(integer(log['timestamp']), 'time of log', log)
                check_tags(log['fields'])
            said[s['traceID']] |= {s['spanID']} | {t['value'] for t in s['tags'] if isinstance(t['value'], str)} | {f['value'] for log in s['logs'] for f in log['fields'] if isinstance(f['value'], str)}
        for process in trace['processes'].values():
            check(process['serviceName'] != '', 'service', process)
            check_tags(process['tags'])
        # Parents make no circle.
        parents = {s['spanID']: next((r['spanID'] for r in s['references'] if r['refType'] == 'CHILD_OF'), None) for s in trace['spans']}
        done = set()
        for span in parents:
            path = set()
            while span is not None and span not in done:
                check(span not in path, 'parents make a circle', trace['traceID'], span)
                if span in path:
                    break
                path.add(span)
                span = parents.get(span)
            done |= path
    return said


def check_zipkin(document, events):
    said = collections.defaultdict(set)
    for s in document:
        check(hexadecimal(s['traceId'], 32) and hexadecimal(s['id'], 16) and ('parentId' not in s or hexadecimal(s['parentId'], 16)), 'ids', s)
        check(s.get('kind', 'CLIENT') in ('CLIENT', 'SERVER', 'PRODUCER', 'CONSUMER'), 'kind', s)
        check(integer(s['timestamp']) and s['timestamp'] > 0 and ('duration' not in s or (integer(s['duration']) and s['duration'] > 0)), 'times', s)
        check(all(isinstance(v, str) for v in s['tags'].values()), 'tags', s['tags'])
        check(all(integer(a['timestamp']) and isinstance(a['value'], str) for a in s.get('annotations', [])), 'annotations', s)
        said[s['traceId']] |= {s['id']} | set(s['tags'].values()) | {u for a in s.get('annotations', []) for u in re.findall('[0-9a-f]{8}-[0-9a-f-]{27}', a['value'])}
    return said


def check_nesting(slices):
    for (pid, tid), some in slices.items():
        open_until = []
        for start, end in sorted(some, key=lambda s: (s[0], -s[1])):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            check(not open_until or end <= open_until[-1], 'slices of a thread nest', pid, tid, start, end)
            open_until.append(end)


def check_chrome(document, events):
    said = collections.defaultdict(set)
    slices = collections.defaultdict(list)
    begun, flows, named, used = {}, collections.defaultdict(dict), set(), set()
    current = None
    check(document['displayTimeUnit'] == 'ms', 'unit', document['displayTimeUnit'])
    for e in document['traceEvents']:
        check(integer(e['pid']) and integer(e['tid']) and isinstance(e['name'], str), 'numbers', e)
        if e['ph'] == 'M':
            check(e['name'] in ('process_name', 'thread_name') and isinstance(e['args']['name'], str), 'name', e)
            named.add(e['pid'] if e['name'] == 'process_name' else (e['pid'], e['tid']))
            continue
        used |= {e['pid'], (e['pid'], e['tid'])}
        check(integer(e['ts']), 'time', e)
        if e['ph'] in 'Xb':
            current = e['args']['trace_id']
            said[current] |= {e['args']['span_id']} | {v for v in e['args'].values() if isinstance(v, str)}
        if e['ph'] == 'X':
            check(integer(e['dur']) and e['dur'] >= 0, 'duration', e)
            slices[e['pid'], e['tid']].append((e['ts'], e['ts'] + e['dur']))
        elif e['ph'] == 'b':
            begun[e['cat'], e['id'], e['pid']] = e
        elif e['ph'] == 'e':
            check(begun.pop((e['cat'], e['id'], e['pid']), {'ts': 2**63})['ts'] <= e['ts'], 'end without begin', e)
        elif e['ph'] == 'i':
            said[current] |= {v for v in e['args'].values() if isinstance(v, str)}
        elif e['ph'] in 'sf':
            flows[e['id']][e['ph']] = e
        else:
            check(False, 'phase', e)
    check(not begun, 'begin without end', list(begun))
    check(used <= named, 'without a name', used - named)
    check_nesting(slices)
    for flow in flows.values():
        check(set(flow) == {'s', 'f'}, 'a flow has two ends', flow)
        for end in flow.values():
            check(any(a <= end['ts'] <= b for a, b in slices[end['pid'], end['tid']]), 'an end of a flow is in a slice', end)
    return said


def parents(document):
    """Of each span its parent, in each format alike."""
    return {(t['traceID'], s['spanID']): next((r['spanID'] for r in s['references'] if r['refType'] == 'CHILD_OF'), None) for t in document['data'] for s in t['spans']}


def main(paths):
    documents = [json.load(open(p, encoding='utf-8')) for p in paths]
    events, otlp, jaeger, zipkin, chrome = documents
    logs = {(r['traceId'], r.get('spanId', '0' * 16)) for g in otlp.get('resourceLogs', []) for i in g['scopeLogs'] for r in i['logRecords']}
    for check_format, document in ((check_otlp, otlp), (check_jaeger, jaeger), (check_zipkin, zipkin), (check_chrome, chrome)):
        before = len(breaches)
        said = check_format(document, events)
        check_ids(events, said, logs)
        breaches[before:] = [f'{check_format.__name__}: {b}' for b in breaches[before:]]
    of_jaeger = parents(jaeger)
    of_otlp = {(s['traceId'], s['spanId']): s.get('parentSpanId') for g in otlp.get('resourceSpans', []) for i in g['scopeSpans'] for s in i['spans']}
    of_zipkin = {(s['traceId'], s['id']): s.get('parentId') for s in zipkin}
    of_chrome = {(e['args']['trace_id'], e['args']['span_id']): e['args'].get('parent_span_id') for e in chrome['traceEvents'] if e['ph'] in 'Xb'}
    for some in (of_otlp, of_zipkin, of_chrome):
        for span, parent in some.items():
            check(of_jaeger.get(span, '?') == (parent if parent != span[1] else None), 'parent differs', span, parent, of_jaeger.get(span, '?'))
    # The same spans fail everywhere.
    failed = {(s['traceId'], s['spanId']) for g in otlp.get('resourceSpans', []) for i in g['scopeSpans'] for s in i['spans'] if s['status'].get('code') == 2}
    check(failed == {(t['traceID'], s['spanID']) for t in jaeger['data'] for s in t['spans'] if {'key': 'error', 'type': 'bool', 'value': True} in s['tags']}, 'errors of Jaeger')
    check(failed <= {(s['traceId'], s['id']) for s in zipkin if 'error' in s['tags']}, 'errors of Zipkin')
    # A trace without an error has none, one with an error event has one.
    errors = {e['trace_id'].replace('-', '') for e in events if e['kind'] == 'Error' and not e['otlp']}
    check(errors <= {trace for trace, _ in failed}, 'a trace lost its error', errors - {trace for trace, _ in failed})
    # Spans that were folded lie within the times of their traces.
    print(f'{len(events)} events, {len(of_otlp)} spans, {len(failed)} failed, {len(breaches)} breaches')
    for b in breaches[:20]:
        print(b)
    sys.exit(bool(breaches) or not events)


main(sys.argv[1:])
