package main

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func ask(t *testing.T, app *application, headers ...string) (int, answer) {
	t.Helper()
	request := httptest.NewRequest("POST", "/a%2fb?c=d", strings.NewReader("hello"))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	app.ServeHTTP(recorder, request)
	var body answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	return recorder.Code, body
}

func TestAnswersTellWhatCame(t *testing.T) {
	status, body := ask(t, &application{identity: identity{Service: "s", Pool: "pool-a"}}, "X-B", "2", "x-a", "1", "X-B", "3")
	if status != 200 || body.Path != "/a%2fb?c=d" || body.Method != "POST" || body.BodyLength != 5 || body.Pool != "pool-a" {
		t.Errorf("%d %+v", status, body)
	}
	expected := [][2]string{{"x-a", "1"}, {"x-b", "2"}, {"x-b", "3"}}
	for i, pair := range expected {
		if body.Headers[i] != pair {
			t.Errorf("headers %v, expected %v", body.Headers, expected)
		}
	}
}

func TestOrderedFailuresComeFirstAndEnd(t *testing.T) {
	app := &application{}
	control := httptest.NewServer(app.control())
	defer control.Close()
	response, err := control.Client().PostForm(control.URL+"/fail?status=503&count=1", url.Values{})
	if err != nil || response.StatusCode != 200 {
		t.Fatal(response, err)
	}
	var got []int
	for _, wish := range []string{"", "418", "nonsense"} {
		status, _ := ask(t, app, "x-echo-status", wish)
		got = append(got, status)
	}
	if got[0] != 503 || got[1] != 418 || got[2] != 200 {
		t.Errorf("answered %v, expected 503, 418, 200", got)
	}
	listed, err := control.Client().Get(control.URL + "/requests")
	if err != nil {
		t.Fatal(err)
	}
	var requests []seen
	if err := json.NewDecoder(listed.Body).Decode(&requests); err != nil || len(requests) != 3 || requests[1].Status != 418 {
		t.Errorf("%v %v", requests, err)
	}
}
