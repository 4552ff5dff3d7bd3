// Refuses a request whose JSON is nested too deeply, or has too many lists and objects, before the server parses it.
// It looks for brackets outside strings, and leaves it to the server to say whether the rest is JSON.

const MAX_DEPTH = 64;          // as --max-json-depth of `polyvit serve`
const MAX_LISTS = 20000;       // lists and objects: 4096 instances in base64 have fewer

// A sentence about what is wrong with a text, or ''.
function complaint(text) {
    const mark = /["[\]{}]/g;
    let depth = 0;
    let lists = 0;
    for (let found = mark.exec(text); found; found = mark.exec(text)) {
        if (found[0] === '"') {
            const end = endOfString(text, found.index + 1);
            if (end < 0) {
                return '';     // no JSON
            }
            mark.lastIndex = end;
        } else if (found[0] === '[' || found[0] === '{') {
            depth += 1;
            lists += 1;
            if (depth > MAX_DEPTH) {
                return 'The JSON is nested more than ' + MAX_DEPTH + ' levels deep.';
            }
            if (lists > MAX_LISTS) {
                return 'The JSON has more than ' + MAX_LISTS + ' lists and objects. Send fewer instances, media as base64.';
            }
        } else {
            depth -= 1;
        }
    }
    return '';
}

// The index behind the quotation mark that ends a string; -1 without one.
function endOfString(text, start) {
    for (let quote = text.indexOf('"', start); quote >= 0; quote = text.indexOf('"', quote + 1)) {
        let first = quote;
        while (first > start && text[first - 1] === '\\') {
            first -= 1;
        }
        if ((quote - first) % 2 === 0) {
            return quote + 1;
        }
    }
    return -1;
}

function guard(r) {
    const wrong = r.method === 'POST' && r.requestText ? complaint(r.requestText) : '';
    if (wrong) {
        r.headersOut['Content-Type'] = 'application/json';
        r.return(400, JSON.stringify({error: wrong}));
    } else {
        r.internalRedirect('@models');
    }
}

export default {guard, complaint};
