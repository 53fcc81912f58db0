package main

import (
	"strings"
	"testing"
)

func TestOptionsAreReadAsIstioWritesThem(t *testing.T) {
	o, err := parseOptions(strings.Split("-p|15001|-z|15006|-u|1337|-m|REDIRECT|-i|*|-x||-b|*|-d|15090,15021,9900|--log_output_level=default:info", "|"))
	if err != nil {
		t.Fatal(err)
	}
	if !o.allNetworks || !o.allInbound || len(o.excludeInbound) != 3 || o.excludeInbound[2] != 9900 || o.proxyUser != 1337 {
		t.Errorf("read as %+v", o)
	}
	// Two that pass (ambient's port and one for each excluded), and what is left to the proxy.
	if rules := o.prerouting(); len(rules) != 5 {
		t.Errorf("%d rules for what comes in, expected 5", len(rules))
	}
}

func TestNothingIsCapturedWhereNothingIsIncluded(t *testing.T) {
	o, err := parseOptions(strings.Split("-p|15001|-z|15006|-u|1337|-m|REDIRECT|-i||-x||-b||-d|15090", "|"))
	if err != nil {
		t.Fatal(err)
	}
	if rules := o.prerouting(); len(rules) != 1 {
		t.Errorf("%d rules for what comes in, expected the one of ambient's port", len(rules))
	}
	all, err := parseOptions([]string{"-i", "*"})
	if err != nil {
		t.Fatal(err)
	}
	if none, some := len(o.output()), len(all.output()); some != none+1 {
		t.Errorf("%d rules for what goes out without capture, %d with", none, some)
	}
}

func TestWhatCannotBeDoneIsRefused(t *testing.T) {
	for arguments, word := range map[string]string{
		"-m|TPROXY":           "TPROXY",
		"-i|10.0.0.0":         "10.0.0.0",
		"-x|fd00::/8":         "IPv4",
		"-d|http":             "http",
		"--redirect-dns=true": "redirect-dns",
	} {
		if _, err := parseOptions(strings.Split(arguments, "|")); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, expected a word about %s", arguments, err, word)
		}
	}
}
