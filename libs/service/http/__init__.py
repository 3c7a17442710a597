"""The HTTP kit: what every service's API is made with."""

from libs.service.http.app import make_app as make_app
from libs.service.http.app import negotiate as negotiate
from libs.service.http.auth import authenticate as authenticate
from libs.service.http.auth import require as require
from libs.service.http.edge import request_id as request_id
from libs.service.http.idempotency import Once as Once
from libs.service.http.idempotency import idempotent as idempotent
from libs.service.http.paging import Paging as Paging
from libs.service.http.paging import decode_cursor as decode_cursor
from libs.service.http.paging import encode_cursor as encode_cursor
from libs.service.http.paging import page as page
from libs.service.http.paging import paging as paging
from libs.service.http.problems import FieldError as FieldError
from libs.service.http.problems import Language as Language
from libs.service.http.problems import Problem as Problem
from libs.service.http.problems import from_validation as from_validation
from libs.service.http.problems import pointer_of as pointer_of
from libs.service.http.problems import register_titles as register_titles
from libs.service.http.session import check_csrf as check_csrf
from libs.service.http.session import csrf_token as csrf_token
from libs.service.http.session import end_session as end_session
from libs.service.http.session import sign_in as sign_in
from libs.service.http.session import start_session as start_session
from libs.service.http.strict_json import read_body as read_body
from libs.service.http.strict_json import read_json as read_json
from libs.service.keys import Principal as Principal
