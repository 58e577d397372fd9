// jaeger_load.go
//
//	Reads documents as Jaeger's API hands them to its UI, with Jaeger's own types, none of whose
//	fields may be unknown. Of each: how many traces, spans, logs, references and microseconds.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	jaeger "github.com/jaegertracing/jaeger/model/json"
)

// What the API wraps traces in.
type document struct {
	Data   []jaeger.Trace `json:"data"`
	Total  int            `json:"total"`
	Limit  int            `json:"limit"`
	Offset int            `json:"offset"`
	Errors []struct{}     `json:"errors"`
}

func read(name string) error {
	var doc document
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		return err
	}
	spans, logs, references := 0, 0, 0
	var duration uint64
	for _, trace := range doc.Data {
		for _, span := range trace.Spans {
			if _, found := trace.Processes[span.ProcessID]; !found {
				return fmt.Errorf("span %s has no process", span.SpanID)
			}
			spans++
			logs += len(span.Logs)
			references += len(span.References)
			duration += span.Duration
		}
	}
	fmt.Println(len(doc.Data), spans, logs, references, duration)
	return nil
}

func main() {
	for _, name := range os.Args[1:] {
		if err := read(name); err != nil {
			fmt.Println(name, err)
			os.Exit(1)
		}
	}
}
