// What the proxy looks at in a request body, and the error bodies it answers with. Runs in nginx's njs module.

// A body with some 20,000 open brackets inside each other is survived by TF Serving, one with 50,000 ends its process. The depth is
// never more than the number of opening brackets, so their number is limited instead: nothing need be parsed, and nothing hidden in
// strings or broken JSON gets by. One request is some 10 to 20 brackets in either form; a batch of 300 requests still passes.
const MOST_OPENING_BRACKETS = 4096;

const TEXTS = {
    400: 'Malformed request',
    401: 'The header X-Api-Key must hold a known key',
    403: 'Forbidden',
    404: 'No such path',
    408: 'The request took too long to arrive',
    413: 'The request body must be at most 256 kB',
    414: 'The URL is too long',
    415: 'The request body must not be compressed',
    429: 'Too many requests. Try again later',
    500: 'Internal error of the proxy',
    503: 'The model server cannot be reached. Try again later',
    504: 'The model server did not answer in time',
};

function answer(r, status, text) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify({ error: text || TEXTS[status] || 'Error' }) + '\n');
}

// Whether the byte occurs more than `most` times; stops as soon as it is known.
function count(bytes, byte, most) {
    let found = 0;
    let at = bytes.indexOf(byte);
    while (at >= 0 && found <= most) {
        found += 1;
        at = bytes.indexOf(byte, at + 1);
    }
    return found;
}

function check(r) {
    let body;
    try {
        body = r.requestBuffer;
    } catch (error) { // larger than client_body_buffer_size, so it is in a file
        answer(r, 413);
        return;
    }
    if (body) {
        const most = MOST_OPENING_BRACKETS;
        const found = count(body, 0x5b, most) + count(body, 0x7b, most);
        if (found > most) {
            answer(r, 400, 'The request body must hold at most ' + most + ' opening brackets');
            return;
        }
    }
    r.internalRedirect('@model');
}

// Where error_page leads: the text to a status that nginx has chosen. 494 is its own word for a 400 by long headers.
function refuse(r) {
    const status = Number(r.variables.status);
    answer(r, status === 494 ? 400 : status);
}

export default { check, refuse };
